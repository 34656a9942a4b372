package presence

import "net"

// apart is a listener that Serve takes over, see Apart.
type apart struct{ net.Listener }

// Apart has Serve answer on a listener from a thread that keeps descriptors of its own,
// where the system can do that.
//
// A process that is killed gives back its memory first and closes its sockets then: with
// a hundred megabytes that is tens of milliseconds in which nobody can know that it died.
// But each of its threads lets go of its descriptors as it ends, and only the last one
// has to do with the memory. So the sockets that show that the process lives belong to
// one thread alone, which does nothing else: it ends with the process, and they with it.
// The rare time when it is the last thread is as it would be without.
func Apart(ln net.Listener) net.Listener { return &apart{ln} }
