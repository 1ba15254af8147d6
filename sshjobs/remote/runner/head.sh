# The head of a runner: its mode and what its launcher tells it on standard input.
# In: s (start), k (kill) or again; sj_print_setup has the lines. Out: sj_machine to sj_posix.

umask 077
sj_mode=$1
case $sj_mode in
again) set -- ;;
*) sj_me=0 sj_by='' sj_says='' sj_hears='' sj_told='' sj_since='' sj_stage='' sj_left='' sj_alone='' sj_sleeper='' ;;
esac
hash ln rm sleep 2>/dev/null
case $sj_mode in
again) ;;
*)
    read -r sj_machine sj_boot sj_node sj_offset sj_umask sj_setsid sj_tool sj_grepz sj_wc sj_burst sj_proc
    case $sj_burst in -) sj_burst='' ;; esac
    IFS= read -r sj_shell
    IFS= read -r sj_home
    IFS= read -r sj_dir
    IFS= read -r sj_path
    IFS= read -r sj_posix
    case $sj_setsid in -) sj_setsid='' ;; esac
    case $sj_tool in -) sj_tool='' ;; *) sj_tool="$sj_tool --default-signal=INT,QUIT" ;; esac
    ;;
esac
