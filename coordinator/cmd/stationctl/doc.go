// Command stationctl is the command line of users and operators. It calls the
// HTTP API of any coordinator and needs nothing else.
//
// Commands are a noun and a verb, as "flow apply" or "cycle watch". Results go
// to standard output, everything else to standard error. With -o json or yaml
// the result has the fields that the API answers; lists of flows and workers
// are plain lists. A command that takes documents prints one object for one
// file and a list for a directory or several files, whatever the directory
// holds.
//
// Exit codes, for scripts:
//
//	0  done; a cycle that was waited for completed; "verify" found the journal clean;
//	   every round of "drill" passed
//	1  refused by the server; a cycle that was waited for ended otherwise; "verify"
//	   found a record that breaks a rule; a round of "drill" failed
//	2  wrong usage, or a document with faults; trying again will not help
//	3  no answer: the server can't be reached, is unavailable or too slow;
//	   trying again may help
//	4  what was named does not exist
//
// When several documents are given, all are tried and the code of the worst is
// used: 3 before 1 before 2.
//
// "cycle watch" and "flow run --wait" follow a cycle by asking again and again.
// A coordinator that dies meanwhile is no error: they go on asking, at every
// server of --server, for a minute.
package main
