# Records which jobs are lost, fed by judge.awk with lines of ID and why.
# In: SJ_NOW, SJ_DUE, SJ_QUIET, and those lines. Out: jobs/ID/lost, and frames.
#
# Records what is judged lost, for every machine to agree on, and says it. A cancelled
# job whose runner is gone as well was cancelled, not lost.

# shellcheck disable=SC3028
case ${BASH_VERSION+x}${BASH_VERSINFO+x} in xx) unset -f [ ;; esac
set -C
is_whole() {
    [ -f "$1" ] && [ ! -h "$1" ] || return
    case $(dd if="$1" bs=65536 count=1 2>/dev/null) in
    *"
end=" | *"
end=
"*) ;;
    *) return 1 ;;
    esac
}
# The machine that runs it may come back: its next round finds the mark, and ends it.
mark_due() {
    m=
    n=
    [ -f "$d/run" ] && [ ! -h "$d/run" ] || return
    for l in $(dd if="$d/run" bs=65536 count=1 2>/dev/null); do
        case $l in
        machine=[A-Za-z0-9_]*) [ "$m" ] || m=${l#machine=} ;;
        node=*) [ "$n" ] || n=${l#node=} ;;
        esac
    done
    case $n in *[!A-Za-z0-9._-]*) n= ;; esac
    case $m in *[!A-Za-z0-9._-]* | "") return ;; esac
    [ -h "$d" ] || [ -h "$d/cancel" ] || { printf "" >"$d/cancel"; } 2>/dev/null
    [ -h "$m" ] || [ ! -d "$m" ] || [ -h "$m/due" ] || {
        [ -d "$m/due" ] || mkdir "$m/due"
        printf "" >"$m/due/$id"
    } 2>/dev/null
}
while read -r id why; do
    d=jobs/$id
    c=
    case $why in
    settled) rm -f "$SJ_DUE/$id"; continue ;;
    forgotten) mark_due; r="declared lost by a person${n:+, who knows that $n is gone}" ;;
    boot) r="the host was rebooted while it ran" ;;
    record) r="its record vanished from the host, as after a loss of power" ;;
    =*) c=${why%%" "*} c=${c#=} r=${why#* } ;; # as queue.awk puts it
    *) r="its processes vanished without a record of their end" ;;
    esac
    if [ "$why" != forgotten ] && [ -e "$d/cancel" ]; then c=cancelled; r="cancelled; its supervisor was gone"; fi
    # Its runner may have died before it removed what it had read.
    [ ! -e "$d/env" ] || rm -f "$d/env"
    if [ -d "$d" ] && [ ! -h "$d/lost" ] && { [ -f "$d/lost" ] || [ ! -e "$d/lost" ]; } && ! is_whole "$d/exit"; then
        t="cause=$c\nfinished_at=$SJ_NOW\nreason=$r\nid=$id\nend=\n"
        { printf "$t" >"$d/lost"; } 2>/dev/null || is_whole "$d/lost" ||
            { printf "\n$t" >>"$d/lost"; } 2>/dev/null
    fi
    [ "$SJ_QUIET" ] && continue
    case $c in
    ?*) printf "ended %s - - $c - %s 0 %s\n" "$id" "$SJ_NOW" "$r" ;;
    *) printf "lost %s %s\n" "$id" "$r" ;;
    esac
done
