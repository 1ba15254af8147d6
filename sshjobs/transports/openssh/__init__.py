"""Sessions over the one master of the system's own ssh.

:mod:`.session` finds the master or has :mod:`.handshake` make one under the gate, and
runs commands: by the multiplexing protocol itself (:mod:`.mux`), or by ``ssh -S``
(:mod:`.client`). :mod:`.master` looks for a master, :mod:`.shutdown` ends one and all
its leftovers, :mod:`.command_lines` has each rule of an ssh that connects.
"""
