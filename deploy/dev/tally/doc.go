// Package tally counts what a cluster asks of its servers: Redis's commands and
// the ledger's scripts with the commands they make, by MONITOR, and AMQP's frames
// by a relay that reads them as they pass. The counts are exact where times are
// noisy, so tests hold the product to them.
//
// MONITOR shows the commands that a script makes right behind it, since Redis runs
// one script at a time. Whose command it is says the name of its connection.
package tally
