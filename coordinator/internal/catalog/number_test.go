package catalog

import (
	"errors"
	"strings"
	"testing"
)

func TestTheNumberOfPartitionsIsTheDeployments(t *testing.T) {
	c := connect(t)
	settle := func(prefix string, n int, admitted bool, recorded int) {
		t.Helper()
		err := SettlePartitions(background(t), c, prefix, n, admitted)
		var other *NumberError
		switch {
		case recorded == 0 && err != nil:
			t.Errorf("%d partitions are refused: %v", n, err)
		case recorded != 0 && (!errors.As(err, &other) || other.Recorded != recorded || other.Set != n || !strings.Contains(err.Error(), "STATION_PARTITIONS")):
			t.Errorf("%d partitions where there are %d: %v", n, recorded, err)
		}
	}
	put := func(key, value string) {
		t.Helper()
		if _, err := c.Put(background(t), key, value); err != nil {
			t.Fatal(err)
		}
	}
	p := prefix(t, c)
	settle(p, 4, false, 0) // the first one records it
	settle(p, 4, false, 0)
	settle(p+"/", 2, false, 4)
	settle(p, 1, true, 4)
	if _, err := c.Delete(background(t), p+"/partitions"); err != nil {
		t.Fatal(err)
	}
	put(p+"/catalog", "marker") // etcd lost the number, and its catalog was restored
	settle(p, 4, false, 1)
	settle(p, 4, true, 0) // one that runs writes it again
	settle(p, 4, false, 0)

	old := prefix(t, c)
	put(old+"/catalog", "marker") // from before there were partitions
	settle(old, 2, false, 1)
	settle(old, 1, false, 0)
	settle(old, 2, true, 1)
	put(old+"/partitions", "many")
	if err := SettlePartitions(background(t), c, old, 1, false); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("nonsense is read: %v", err)
	}
}
