package rabbit

import "slices"

// tags are the delivery tags of one channel that are not ended, as this end knows them.
// They tell which acks one frame may carry: an ack with the mark "multiple" ends every
// open tag up to its own, so all of those must be among the ones to ack, and its own must
// be open, or the broker closes the channel.
type tags struct {
	open    []uint64 // in order
	highest uint64
	seen    uint64 // how many have arrived
}

// arrive notes a message. Tags come in order from one consumer of the channel, but not
// from several.
func (t *tags) arrive(tag uint64) {
	t.seen++
	t.highest = max(t.highest, tag)
	if n := len(t.open); n == 0 || t.open[n-1] < tag {
		t.open = append(t.open, tag)
		return
	}
	i, _ := slices.BinarySearch(t.open, tag)
	t.open = slices.Insert(t.open, i, tag)
}

// end notes that tag was ended alone.
func (t *tags) end(tag uint64) {
	if i, found := slices.BinarySearch(t.open, tag); found {
		t.open = slices.Delete(t.open, i, i+1)
	}
}

// ack notes that the tags of batch, all open, are acked: all up to upTo, unless that is
// 0, by one frame, and each of alone by its own. It sorts batch.
func (t *tags) ack(batch []uint64) (upTo uint64, alone []uint64) {
	slices.Sort(batch)
	run := 0                 // of open tags from the first one on, all to be acked
	if t.seen == t.highest { // no message is on its way here with a lower tag
		for run < min(len(batch), len(t.open)) && t.open[run] == batch[run] {
			run++
		}
	}
	if run < 2 {
		run = 0
	}
	if alone = batch[run:]; run > 0 {
		upTo = batch[run-1]
		t.open = slices.Delete(t.open, 0, run)
	}
	for _, tag := range alone {
		t.end(tag)
	}
	return upTo, alone
}
