package s3

import (
	"encoding/xml"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func putObjectRetention(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct {
		Mode            string
		RetainUntilDate time.Time
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return nil, malformed()
	}
	return nil, relock(tx, r, b, func(v version) error {
		until, _ := v["until"].(time.Time)
		shorter := until.After(tx.Now()) && (in.RetainUntilDate.Before(until) || in.Mode != v["mode"])
		if shorter && (v["mode"] == "COMPLIANCE" && in.RetainUntilDate.Before(until) || v["mode"] == "GOVERNANCE" && headers(r)["x-amz-bypass-governance-retention"] != "true") {
			return errorf("AccessDenied", "Access Denied because object protected by object lock.")
		}
		delete(v, "mode")
		delete(v, "until")
		if in.Mode != "" {
			v["mode"], v["until"] = in.Mode, in.RetainUntilDate
		}
		return nil
	})
}

func putObjectLegalHold(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct{ Status string }
	if err := xml.Unmarshal(r.Body, &in); err != nil || in.Status != "ON" && in.Status != "OFF" {
		return nil, malformed()
	}
	return nil, relock(tx, r, b, func(v version) error {
		v["hold"] = in.Status == "ON"
		return nil
	})
}

func relock(tx *account.Tx, r *wire.Request, b *account.Resource, edit func(version) error) error {
	if !locked(b.Props) {
		return errorf("InvalidRequest", "Bucket is missing Object Lock Configuration")
	}
	v, err := find(tx, b.ID, r.String("Key"), r.String("versionId"))
	if err != nil {
		return err
	}
	return edit(v)
}
