# Completion of sshjobs for fish: sshjobs completion fish
#
# It asks the sshjobs of the line itself, which reads files of this machine only.

function __sshjobs_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l plain (string unescape -- $current)
    or set plain (string trim --left --chars "'\"" -- $current)
    set -l program (string replace -r '^~/' $HOME/ -- $words[1])
    type -q -- $program; or set program sshjobs
    set -l answer (command $program __complete fish $words[2..-1] "$plain" 2>/dev/null </dev/null)
    if test "$answer[1]" = files
        __fish_complete_path $current
    else if set -q answer[2]
        printf '%s\n' $answer[2..-1]
    end
end

complete -c sshjobs -f -k -a '(__sshjobs_complete)'
