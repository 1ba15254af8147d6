# One job a key: keys/SHA/N is claimed by a hard link.
# In: sj_keyed (ID:SHA:DIGEST:ONCE) and sj_shas. Out: frames claimed and refused, sj_go.

# Keys. keys/<sha>/<n> is a hard link to the claim file of the job that holds attempt n:
# link(2) is atomic, and the claim is whole before it has that name. Who finds a holder
# that is active or completed joins it; after a bad end the next attempt is claimed, or
# the whole look is repeated if somebody else was faster.
sj_claim_keys() {
    sj_todo=$sj_keyed sj_huge=''
    for sj_try in 1 2 3 4 5 6 7 8; do
        sj_questions='' sj_again=''
        for sj_i in $sj_todo; do sj_find_holder "$sj_i"; done
        [ "$sj_questions" ] || break
        sj_out=$(sj_tail='' sj_judge_jobs 1 "$sj_questions") || { sj_broken='awk or find' && break; }
        set -- $sj_out
        while [ $# -ge 6 ]; do
            sj_judge_holder "$1" "$2" "$3" "$4" "$5" "$6"
            shift 6
        done
        sj_todo=$sj_again
        [ "$sj_todo" ] || break
    done
    [ "$sj_drop" ] && rm -rf -- $sj_drop
    return 0
}

sj_find_holder() {
    # ID:SHA:DIGEST:ONCE
    sj_rest=$1
    sj_id=${1%%:*} sj_rest=${sj_rest#*:}
    sj_sha=${sj_rest%%:*} sj_rest=${sj_rest#*:}
    sj_digest=${sj_rest%%:*}
    sj_attempt=1 sj_holder='' sj_mine=''
    while [ -e "keys/$sj_sha/$sj_attempt" ]; do
        sj_read_holder "keys/$sj_sha/$sj_attempt" || {
            printf 'refused %s EKEY %s\n' "$sj_id" "the record of its key is damaged: keys/$sj_sha/$sj_attempt in the base directory"
            [ -e "jobs/$sj_id/run" ] || sj_drop="$sj_drop jobs/$sj_id"
            return
        }
        [ "$sj_holder" = "$sj_id" ] && sj_mine=$sj_attempt
        sj_attempt=$((sj_attempt + 1))
    done
    if [ "$sj_mine" ]; then
        sj_hold_key "$sj_id" "$sj_mine"
    elif [ ! -d "jobs/$sj_id" ]; then
        sj_plan_start "$sj_id" 1
    elif [ "$sj_attempt" -eq 1 ]; then
        sj_claim_key "$sj_id" "$sj_sha" 1 || sj_find_holder "$1"
    else
        sj_questions="${sj_questions:+$sj_questions
}w $1 $sj_sha $((sj_attempt - 1)) $sj_holder $sj_digest"
    fi
}

# Who holds an attempt, to sj_holder; - if nobody says so, as a loss of power leaves it. Who
# cannot be told is not taken for gone.
sj_read_holder() {
    # FILE
    [ "$sj_huge" ] || sj_huge=" $(find $sj_shas -size +128 2>/dev/null) "
    case $sj_huge in *"$1"*) return 1 ;; esac
    [ ! -h "$1" ] && [ -f "$1" ] || return
    sj_read_line "$1"
    sj_holder=${sj_line#id=}
    [ "$sj_line" ] || sj_holder=-
    case $sj_holder in
    -) ;;
    "$sj_line" | *[!a-z2-7]*) return 1 ;;
    ????????????????) ;;
    *) return 1 ;;
    esac
}

sj_claim_key() {
    # ID SHA ATTEMPT
    [ -d "keys/$2" ] || mkdir "keys/$2" 2>/dev/null
    if ln "jobs/$1/claim" "keys/$2/$3" 2>/dev/null; then
        sj_hold_key "$1" "$3"
    elif [ -e "keys/$2/$3" ]; then
        return 1
    else
        # a file system without hard links: O_EXCL, not whole at once
        set -C
        if { printf 'id=%s\n' "$1" >"keys/$2/$3"; } 2>/dev/null; then
            set +C
            sj_hold_key "$1" "$3"
        else
            set +C
            sj_refuse_job "$1" keys
        fi
    fi
}

sj_hold_key() {
    # ID ATTEMPT
    printf 'claimed %s %s %s PENDING 1\n' "$1" "$1" "$2"
    sj_plan_start "$1" "$2"
}

sj_judge_holder() {
    # ID:SHA:DIGEST:ONCE SHA N HOLDER STATE SAME
    sj_id=${1%%:*}
    case $5:${1##*:} in
    PENDING:* | RUNNING:* | ELSEWHERE:* | COMPLETED:* | *:1)
        printf 'claimed %s %s %s %s %s\n' "$sj_id" "$4" "$3" "$5" "$6"
        [ -e "jobs/$sj_id/run" ] || sj_drop="$sj_drop jobs/$sj_id"
        if [ -d "jobs/$4" ]; then
            sj_old="$sj_old $4"
            sj_plan_start "$4" "$3"
        else
            sj_ask="$sj_ask
r $4 $2 $3"
        fi
        ;;
    *) sj_claim_key "$sj_id" "$2" "$(($3 + 1))" || sj_again="$sj_again $1" ;;
    esac
}
