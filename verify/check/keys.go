package check

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
)

// SawKey notes whether something is encrypted with the key of a purpose. The
// reference is what a service says: an id, an ARN or an alias, or "" for none.
// Where the purpose has no key, one check says so for all.
func SawKey(l *account.Look, r *Recorder, resource, ref, api string, purpose architecture.KeyPurpose, fix string) error {
	keys, err := l.Keys()
	if err != nil {
		return err
	}
	id := keys[purpose]
	if id == "" {
		r.NA("there is no key for %s, as key-there says", purpose)
		return nil
	}
	alias := l.Arch.KeyAlias(purpose)
	if ref == "" {
		r.Saw(false, resource, "no key of the customer's", api, alias+", key "+id, fix)
		return nil
	}
	name := account.ResourceOf(ref)
	ok := strings.TrimPrefix(name, "key/") == id || name == alias
	if !ok && strings.HasPrefix(name, "alias/") {
		key, err := l.Key(ref)
		if err != nil {
			return err
		}
		ok = key != nil && aws.ToString(key.KeyId) == id
	}
	r.Saw(ok, resource, "encrypted with "+ref, api, alias+", key "+id, fix)
	return nil
}
