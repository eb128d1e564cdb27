package s3

import (
	"encoding/xml"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// rule is a lifecycle rule as S3's API has it; CloudFormation's names differ.
type rule struct {
	ID     string `xml:",omitempty"`
	Status string
	Prefix *string `xml:",omitempty"`
	Filter *filter `xml:",omitempty"`

	Transitions    []transition `xml:"Transition,omitempty"`
	OldTransitions []transition `xml:"NoncurrentVersionTransition,omitempty"`
	Expiration     *expiration  `xml:",omitempty"`
	OldExpiration  *oldVersions `xml:"NoncurrentVersionExpiration,omitempty"`
	Abort          *abort       `xml:"AbortIncompleteMultipartUpload,omitempty"`
}

type filter struct {
	Prefix                *string   `xml:",omitempty"`
	Tag                   *struct{} `xml:",omitempty"`
	And                   *struct{} `xml:",omitempty"`
	ObjectSizeGreaterThan string    `xml:",omitempty"`
	ObjectSizeLessThan    string    `xml:",omitempty"`
}

type transition struct {
	Days           int    `xml:",omitempty"`
	NoncurrentDays int    `xml:",omitempty"`
	Date           string `xml:",omitempty"`
	StorageClass   string
}

type expiration struct {
	Days                      int    `xml:",omitempty"`
	Date                      string `xml:",omitempty"`
	ExpiredObjectDeleteMarker bool   `xml:",omitempty"`
}

type oldVersions struct {
	NoncurrentDays          int `xml:",omitempty"`
	NewerNoncurrentVersions int `xml:",omitempty"`
}

type abort struct{ DaysAfterInitiation int }

type lifecycle struct {
	XMLName xml.Name `xml:"LifecycleConfiguration"`
	Rules   []rule   `xml:"Rule"`
}

func getBucketLifecycle(_ *account.Tx, _ *wire.Request, b *account.Resource) (any, error) {
	if !props.Has(b.Props, "LifecycleConfiguration") {
		return nil, errorf("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
	}
	var out lifecycle
	for _, r := range props.Maps(b.Props, "LifecycleConfiguration", "Rules") {
		prefix := props.Str(r, "Prefix")
		x := rule{ID: props.Str(r, "Id"), Status: props.Str(r, "Status"), Filter: &filter{Prefix: &prefix}}
		for _, t := range transitions(r, "Transition", "Transitions") {
			x.Transitions = append(x.Transitions, transition{Days: props.Int(t, 0, "TransitionInDays"), Date: props.Str(t, "TransitionDate"), StorageClass: props.Str(t, "StorageClass")})
		}
		for _, t := range transitions(r, "NoncurrentVersionTransition", "NoncurrentVersionTransitions") {
			x.OldTransitions = append(x.OldTransitions, transition{NoncurrentDays: props.Int(t, 0, "TransitionInDays"), StorageClass: props.Str(t, "StorageClass")})
		}
		if days, date, markers := props.Int(r, 0, "ExpirationInDays"), props.Str(r, "ExpirationDate"), props.Bool(r, false, "ExpiredObjectDeleteMarker"); days != 0 || date != "" || markers {
			x.Expiration = &expiration{Days: days, Date: date, ExpiredObjectDeleteMarker: markers}
		}
		if days := props.Int(r, props.Int(r, 0, "NoncurrentVersionExpiration", "NoncurrentDays"), "NoncurrentVersionExpirationInDays"); days != 0 {
			x.OldExpiration = &oldVersions{NoncurrentDays: days, NewerNoncurrentVersions: props.Int(r, 0, "NoncurrentVersionExpiration", "NewerNoncurrentVersions")}
		}
		if days := props.Int(r, 0, "AbortIncompleteMultipartUpload", "DaysAfterInitiation"); days != 0 {
			x.Abort = &abort{days}
		}
		out.Rules = append(out.Rules, x)
	}
	return out, nil
}

func putBucketLifecycle(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in lifecycle
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return nil, malformed()
	}
	rules := []any{}
	for _, x := range in.Rules {
		p := map[string]any{"Id": x.ID, "Status": x.Status}
		if x.Prefix != nil {
			p["Prefix"] = *x.Prefix
		}
		if f := x.Filter; f != nil {
			if f.Tag != nil || f.And != nil || f.ObjectSizeGreaterThan != "" || f.ObjectSizeLessThan != "" {
				return nil, account.NotModelled("lifecycle filters other than prefixes are not modelled by the sandbox")
			}
			if f.Prefix != nil {
				p["Prefix"] = *f.Prefix
			}
		}
		var moves, old []any
		for _, t := range x.Transitions {
			moves = append(moves, map[string]any{"TransitionInDays": t.Days, "StorageClass": t.StorageClass})
		}
		for _, t := range x.OldTransitions {
			old = append(old, map[string]any{"TransitionInDays": t.NoncurrentDays, "StorageClass": t.StorageClass})
		}
		if moves != nil {
			p["Transitions"] = moves
		}
		if old != nil {
			p["NoncurrentVersionTransitions"] = old
		}
		if e := x.Expiration; e != nil {
			if e.ExpiredObjectDeleteMarker {
				p["ExpiredObjectDeleteMarker"] = true
			} else if e.Date != "" {
				p["ExpirationDate"] = e.Date
			} else {
				p["ExpirationInDays"] = e.Days
			}
		}
		if e := x.OldExpiration; e != nil {
			p["NoncurrentVersionExpiration"] = map[string]any{"NoncurrentDays": e.NoncurrentDays}
			if e.NewerNoncurrentVersions > 0 {
				p["NoncurrentVersionExpiration"] = map[string]any{"NoncurrentDays": e.NoncurrentDays, "NewerNoncurrentVersions": e.NewerNoncurrentVersions}
			}
		}
		if x.Abort != nil {
			p["AbortIncompleteMultipartUpload"] = map[string]any{"DaysAfterInitiation": x.Abort.DaysAfterInitiation}
		}
		rules = append(rules, p)
	}
	return nil, change(tx, b, "LifecycleConfiguration", map[string]any{"Rules": rules})
}
