package s3

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// parseTags reads an object's tags, in the form of a query.
func parseTags(text string) (url.Values, error) {
	tags, err := url.ParseQuery(text)
	if err != nil {
		return nil, errorf("InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	return tags, checkTags(tags)
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
func checkTags(tags url.Values) error {
	if len(tags) > 10 {
		return errorf("BadRequest", "Object tags cannot be greater than 10")
	}
	for k, values := range tags {
		switch {
		case len(values) > 1:
			return errorf("InvalidTag", "Cannot provide multiple Tags with the same key")
		case k == "" || utf8.RuneCountInString(k) > 128:
			return errorf("InvalidTag", "The TagKey you have provided is invalid")
		case utf8.RuneCountInString(values[0]) > 256:
			return errorf("InvalidTag", "The TagValue you have provided is invalid")
		}
	}
	return nil
}

func getObjectTagging(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	v, err := find(tx, b.ID, r.String("Key"), r.String("versionId"))
	if err != nil {
		return nil, err
	}
	tags, err := parseTags(props.Str(v, "headers", "x-amz-tagging"))
	if err != nil {
		return nil, err
	}
	list := wire.Flat{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, map[string]any{"Key": k, "Value": tags.Get(k)})
	}
	out := http.Header(answer("X-Amz-Version-Id", shownID(b, props.Str(v, "id"))))
	return wire.Headed{Header: out, Out: wire.Document{Root: "Tagging", Fields: map[string]any{"TagSet": map[string]any{"Tag": list}}}}, nil
}

func putObjectTagging(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	var in struct {
		Tags []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if err := xml.Unmarshal(r.Body, &in); err != nil {
		return nil, malformed()
	}
	tags := url.Values{}
	for _, t := range in.Tags {
		tags.Add(t.Key, t.Value)
	}
	if err := checkTags(tags); err != nil {
		return nil, err
	}
	return tagged(tx, r, b, http.StatusOK, tags.Encode())
}

func deleteObjectTagging(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	return tagged(tx, r, b, http.StatusNoContent, "")
}

func tagged(tx *account.Tx, r *wire.Request, b *account.Resource, status int, tags string) (any, error) {
	v, err := find(tx, b.ID, r.String("Key"), r.String("versionId"))
	if err != nil {
		return nil, err
	}
	kept := maps.Clone(props.Map(v, "headers"))
	if kept["x-amz-tagging"] = tags; tags == "" {
		delete(kept, "x-amz-tagging")
	}
	v["headers"] = kept
	return wire.Raw{Status: status, Header: answer("X-Amz-Version-Id", shownID(b, props.Str(v, "id")))}, nil
}
