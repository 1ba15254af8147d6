# Completion of sshjobs for bash: sshjobs completion bash
#
# It asks the sshjobs of the line itself, which reads files of this machine only.

_sshjobs() {
    local program kind='' word
    program=$(type -P -- "${1/#\~\//$HOME/}") || program=$(type -P sshjobs) || return 0
    COMPREPLY=()
    while IFS= read -r word; do
        if [ -z "$kind" ]; then
            kind=$word
        else
            COMPREPLY+=("$word")
        fi
    done < <("$program" __complete bash "${COMP_LINE:0:COMP_POINT}" \
        "$COMP_WORDBREAKS" 2>/dev/null </dev/null)
    case $kind in
    files) compopt -o default -o filenames 2>/dev/null ;;
    open) compopt -o nospace 2>/dev/null ;;
    esac
    return 0
}

# nosort: the newest job comes first (bash 4.4).
complete -o nosort -F _sshjobs sshjobs 2>/dev/null || complete -F _sshjobs sshjobs
