package partition

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tradingflow/weather-station/shared/ids"
)

// Max is how many partitions there may be: each costs every coordinator a lease, a
// candidacy, and a connection to each coordinator ahead of it.
const Max = 64

// Check says what is wrong with a number of partitions of a deployment whose keys
// begin with prefix.
func Check(prefix string, count int) error {
	if count < 1 || count > Max {
		return fmt.Errorf("partitions is %d; 1 to %d are allowed", count, Max)
	}
	if count > 1 && strings.ContainsAny(prefix, "{}") {
		return fmt.Errorf("prefix %q has a hash tag and partitions is %d: leave the tag out, each partition adds its own", prefix, count)
	}
	return nil
}

// Of returns the partition that a flow is in, from 0 to count-1.
func Of(flow ids.FlowID, count int) int {
	if count <= 1 {
		return 0
	}
	return jump(hash(string(flow)), count)
}

// Prefix returns what the keys of a partition's ledger begin with.
func Prefix(prefix string, p, count int) string {
	if count <= 1 {
		return prefix
	}
	return prefix + "{" + strconv.Itoa(p) + "}"
}

// hash is FNV-1a of 64 bits with a last step that lets every bit depend on all:
// ids that differ in their last character alone would share their high bits.
func hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// jump is the jump consistent hash of Lamping and Veach.
func jump(key uint64, count int) int {
	last, next := int64(-1), int64(0)
	for next < int64(count) {
		last = next
		key = key*2862933555777941757 + 1
		next = int64(float64(last+1) * (float64(1<<31) / float64(key>>33+1)))
	}
	return int(last)
}
