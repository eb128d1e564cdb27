package s3

import (
	"crypto/md5"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Deliver writes an object into a bucket for an AWS service, such as a log: its
// body is in the account. What lets the service do that is for the caller to
// have looked at.
func Deliver(tx *account.Tx, bucket, key, body string) error {
	b, err := Lookup(tx, bucket)
	if err != nil {
		return err
	}
	sum := md5.Sum([]byte(body))
	w := &work{body: Body{Text: body, Size: int64(len(body))}, md5: sum[:]}
	// The body of an object that it replaces is left to the sweep of the next
	// start.
	_, _, err = put(tx, b, key, w, map[string]string{"x-amz-acl": "bucket-owner-full-control"})
	return err
}
