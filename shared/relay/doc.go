// Package relay passes TCP connections on to a target and does faults to them
// while they run. Tests, drills and trials put one on a link between two parts;
// no production binary links it.
//
// # What it does the way a network does it
//
//   - A cut resets what is open and closes the listener, so that who dials is
//     refused by the kernel.
//   - A hole takes bytes and passes nothing on, nor the end of a connection. When
//     it closes, what it held goes on in order, as retransmitted segments do. A
//     hole in one direction is a half-open link. A connection that is opened in a
//     hole is accepted and goes nowhere.
//   - A stall stops reading, so that the sender's buffers fill and its writes block.
//   - A target whose process is gone refuses; so does the relay, from the moment at
//     which a connection to the target breaks. Who holds "refused" for a proof of
//     death finds the same proof through a relay.
//
// # What it can't do
//
// The kernel acknowledges what a hole swallows, and completes the handshake of
// connections that go nowhere: a TCP user time-out does not fire, and connecting
// succeeds. Where that matters, network namespaces are the tool. Refused
// connections are not counted, for the kernel refuses them.
package relay
