// Package mutant names the broken readings of the protocol that the simulation
// has to find. A build with the tag mutant_NAME runs one of them; Active is a
// constant, so every other build has none of their code.
package mutant

// Name of a mutant; its build tag is mutant_ and the name.
type Name string

// Mutants. Each comment is the reading that is wrong.
const (
	None          Name = ""
	Overwrite     Name = "overwrite"      // a confirmed offer makes its node dispatched, whatever it is by then
	ExpireNoGuard Name = "expire_noguard" // a lease that was seen to be over revokes whatever the node is by then
	Steal         Name = "steal"          // a redelivered message takes the claim over
	Cursor        Name = "cursor"         // the leader reads the outbox behind a cursor and never again from its start
	RedisClaim    Name = "redis_claim"    // an at-most-once node may start whenever the ledger grants a claim
	NoAudit       Name = "noaudit"        // no audit: a script is atomic, so nothing can be missing
	XdelNoID      Name = "xdel_noid"      // a confirmed offer removes every entry of its node
	NoRedispatch  Name = "noredisp"       // a confirmed message is never lost
	CloseNow      Name = "close_now"      // a cancelled cycle has ended
	NoDedupe      Name = "nodedupe"       // a cycle is known by its number, not by its slot
	NoToken       Name = "notoken"        // a result counts if the node was ever offered
	SeedCount     Name = "seed_count"     // a result counts
	ServerToken   Name = "servertoken"    // a claim that is asked for again is refused, whoever asks
)
