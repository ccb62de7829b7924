#!/usr/bin/env bash
# Commit what students get of this course to a repository of their own, which is made if it is new. In the course's folder:
#     bash course_teaching/students.sh FOLDER [TAG]
set -euo pipefail
if [ ! -e "$1" ]; then
    git init --quiet --initial-branch=main "$1"
elif [ ! -d "$1/.git" ]; then
    echo "Expected a new folder or a students' repository, got $1." >&2
    exit 2
fi
git -C "$1" rm -r --quiet --ignore-unmatch .
git -c core.attributesFile=course_teaching/students.gitattributes archive HEAD | tar -x -C "$1"
# Parts of pages, single lines, and commands that are for those who teach
perl -0pi -e 's/<!-- teachers -->\n.*?<!-- \/teachers -->\n+|^[^\n]*<!-- teachers -->[^\n]*\n|^make (run|test) [^\n]*\n//gms' \
    "$1/README.md" "$1/docs/setup.md"
git -C "$1" add --all --force
git -C "$1" commit --quiet --message "The course, as students get it"
[ -z "${2:-}" ] || git -C "$1" tag "$2"
