// Package links puts a relay on every link between two parts of a cluster, so
// that each part can be cut off from each other part alone. A link is named
// "who>whom", as coordinator-1>redis or worker-2>rabbitmq-3; who is given the
// relay's address instead of whom's.
//
// # Addresses that parts tell each other
//
// Some addresses are not settings: Sentinel tells where the primary is, a worker
// writes its health address into Redis, a coordinator its presence address into
// etcd. In what a relay passes to X, a loopback address of Y therefore becomes the
// address of X's own link to Y, if there is one. Both ports have as many digits,
// so that nothing else of a message changes. An address that is split between two
// segments is missed; then that connection goes around its link, which shows as
// a link without traffic.
//
// # Control
//
// Faults are set and cleared over HTTP on loopback, for all links that a pattern
// matches, in one step. A pattern that matches nothing is an error: a fault that
// was not done would prove nothing. Each link counts the connections and bytes
// that its faults hit, from the moment they were set.
package links
