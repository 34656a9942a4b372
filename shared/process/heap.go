package process

// floor is memory that is never touched, and so takes none of the machine's.
var floor []byte

// FloorHeap has Go's collector begin at 64 MiB. It runs each time the heap has doubled, and
// a process that holds 4 MiB while it makes thousands of small things a second would be
// collecting all the time: a fifth of what a node costs a worker. Up to 36 MiB wait to be
// collected instead of 4; a process that holds much is collected as ever.
func FloorHeap() { floor = make([]byte, 32<<20) }
