# shellcheck shell=bash
# A Python that is new enough, and the project's virtual environment. Needs common.sh and packages.sh.

PYTHON_MINIMUM=3.11
VENV=$PROJECT/.venv

# python_serves PROGRAM: whether it is new enough and can make a virtual environment
python_serves() {
    "$1" -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (${PYTHON_MINIMUM/./, }))" 2>/dev/null
}

# find_python: print the first that serves
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if python_serves "$candidate"; then command -v "$candidate" && return 0; fi
    done
    return 1
}

# ensure_python: set PYTHON; as root it is installed when absent
ensure_python() {
    PYTHON=$(find_python) && return 0
    if can_apt_install; then
        say "installing Python"
        apt_install python3 python3-venv || true
        PYTHON=$(find_python) && return 0
        # an older release's default may be too old while a newer one is packaged beside it
        apt_install python3.12 python3.12-venv 2>/dev/null || apt_install python3.11 python3.11-venv 2>/dev/null || true
        PYTHON=$(find_python) && return 0
    fi
    die 4 "no Python $PYTHON_MINIMUM or newer with the venv module" \
        "install it (Debian, Ubuntu: apt-get install python3 python3-venv) and start this again"
}

# ensure_venv [EXTRA]: the project installed in .venv; done again only when pyproject.toml, EXTRA or Python changed
ensure_venv() {
    local extra=${1:-} stamp=$VENV/.installed wanted
    if [ -x "$VENV/bin/python" ] && python_serves "$VENV/bin/python"; then
        PYTHON=$VENV/bin/python
    else
        ensure_python
        "$PYTHON" -m venv --clear "$VENV" || die 4 "could not make $VENV"
    fi
    wanted=$(cksum <"$PROJECT/pyproject.toml")
    # what was installed with an extra serves without it too
    if grep -qxF "$wanted [$extra]" "$stamp" 2>/dev/null; then return 0; fi
    if [ -z "$extra" ] && grep -qF "$wanted " "$stamp" 2>/dev/null; then return 0; fi
    say "installing the project into ${VENV#"$PROJECT"/}"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --editable "$PROJECT${extra:+[$extra]}" ||
        die 4 "pip could not install the project" "is the Python package index reachable? see pip's message above"
    printf '%s [%s]\n' "$wanted" "$extra" >"$stamp"
}
