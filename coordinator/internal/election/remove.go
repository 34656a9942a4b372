package election

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// DeleteKeyOf removes the key of a leader that is proven dead, so that the next
// in line is elected at once. It deletes nothing, and reports false, when that
// leadership is over already. The proof must be a refused connection or another
// process at the leader's presence address; silence is none.
func (e *Elector) DeleteKeyOf(ctx context.Context, leader Leader) (bool, error) {
	if leader.Key == "" || leader.Revision <= 0 {
		return false, errors.New("delete leader key: the leader names no key")
	}
	deleted, err := e.deleteKey(ctx, leader.Key, leader.Revision)
	if err != nil {
		return false, err
	}
	if deleted {
		e.cfg.Log.Info("deleted the key of a dead leader", "leader", leader.ID, "epoch", leader.Epoch)
	}
	return deleted, nil
}

// deleteKey deletes a key of the line if it is still the one that was created
// at the given revision.
func (e *Elector) deleteKey(ctx context.Context, key string, revision int64) (bool, error) {
	resp, err := e.cfg.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", revision)).
		Then(clientv3.OpDelete(key)).
		Commit()
	if err != nil {
		return false, fmt.Errorf("delete election key %s: %w", key, err)
	}
	return resp.Succeeded, nil
}
