#!/usr/bin/env bash
# Build the site of this version and push it to the branch gh-pages, next to earlier versions. Called by the release
# workflow, which sets TOKEN; a site of pages has to be switched on for this branch once.
set -euo pipefail
cd "$(dirname "$0")/.."
files="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
remote="https://x-access-token:$TOKEN@${GITHUB_SERVER_URL#https://}/$GITHUB_REPOSITORY.git"
versions=$(mktemp -d)
git clone --quiet --depth 1 --branch gh-pages "$remote" "$versions" || {
    git init --quiet --initial-branch gh-pages "$versions"
    git -C "$versions" remote add origin "$remote"
}
make site ARGS="--source-url $files/blob/$GITHUB_REF_NAME --versions $versions"
cd "$versions"
git add --all
git -c user.name=mlprune -c user.email=mlprune@users.noreply.github.com commit --quiet --message "Pages of $GITHUB_REF_NAME"
git push --quiet origin gh-pages
