# shellcheck shell=bash
# A MongoDB server for the tests. Needs common.sh and python.sh.

MONGO_SERVER=SecantusDB==0.7.0b3

# mongo_serves: whether a server that tests can start is there: MongoDB's own, or either build of SecantusDB
mongo_serves() { has mongod || has secantusd-rs || [ -x "$TOOLS/mongo/bin/secantusd-py" ]; }

# ensure_mongo: one that is there is taken; else SecantusDB, which speaks MongoDB's protocol, in a virtual environment of
# its own: it is a program beside the project, never a part of it
ensure_mongo() {
    ! mongo_serves || return 0
    "${PYTHON:-python3}" -m venv --clear "$TOOLS/mongo" &&
        "$TOOLS/mongo/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$MONGO_SERVER" &&
        return 0
    warn "no MongoDB server can be had: tests that need one are skipped"
}
