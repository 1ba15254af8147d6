#compdef sshjobs
# Completion of sshjobs for zsh: sshjobs completion zsh
#
# It asks the sshjobs of the line itself, which reads files of this machine only.

_sshjobs() {
    local program=${(Q)words[1]} kind='' line word hint
    local -i width=0 place
    local -a found hints shown gap
    program=${program/#\~\//$HOME/}
    whence -p -- $program >/dev/null || program=sshjobs
    while IFS= read -r line; do
        if [[ -z $kind ]]; then
            kind=$line
            continue
        fi
        word=${line%%$'\t'*} hint=${line#*$'\t'}
        found+=("$word")
        hints+=("$hint")
        (($#word > width && $#word < 33)) && width=$#word
    done < <(command $program __complete zsh "${(@Q)words[2,CURRENT-1]}" \
        "${(Q)PREFIX}" 2>/dev/null </dev/null)
    if [[ $kind == files ]]; then
        [[ $PREFIX == --*=* ]] && compset -P '*='
        _files
        return
    fi
    for ((place = 1; place <= $#found; place++)); do
        word=$found[place] hint=$hints[place]
        ((${(m)#word} < width)) && word=${(mr:width:)word}
        shown+=("$word${hint:+  $hint}")
    done
    [[ $kind == open ]] && gap=(-S '')
    # Words of states are large letters, and may be typed small.
    (($#found)) && compadd -V sshjobs -M 'm:{a-zA-Z}={A-Za-z}' -l "${gap[@]}" -d shown -a found
}

# Read by the completion system from a file of $fpath, it is the function itself.
if [[ $funcstack[1] == _sshjobs ]]; then
    _sshjobs "$@"
else
    compdef _sshjobs sshjobs
fi
