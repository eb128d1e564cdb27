package s3

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// failed is the refusal of a request that supposes something else.
func failed() error {
	return errorf("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
}

// condition compares a version with what a request supposes of it: 0, or 304
// where a reader has it already, or 412's refusal.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-reads.html
func condition(etag string, modified time.Time, match, noneMatch, since, unmodified string) (int, error) {
	same := func(list string) bool {
		for _, e := range strings.Split(list, ",") {
			if e = strings.TrimSpace(e); e == "*" || strings.Trim(e, `"`) == strings.Trim(etag, `"`) {
				return true
			}
		}
		return false
	}
	modified = modified.Truncate(time.Second)
	switch {
	case match != "":
		if !same(match) {
			return 0, failed()
		}
	case unmodified != "":
		if at, err := http.ParseTime(unmodified); err == nil && modified.After(at) {
			return 0, failed()
		}
	}
	switch {
	case noneMatch != "":
		if same(noneMatch) {
			return http.StatusNotModified, nil
		}
	case since != "":
		if at, err := http.ParseTime(since); err == nil && !modified.After(at) {
			return http.StatusNotModified, nil
		}
	}
	return 0, nil
}

// span is the range of a body that a Range header asks for, and how the answer
// says so; "" is for all of it, which is the answer to what can't be read too.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
func span(size int64, header string) (first, length int64, shown string, err error) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return 0, size, "", nil
	}
	first, errFirst := strconv.ParseInt(from, 10, 64)
	last, errLast := strconv.ParseInt(to, 10, 64)
	switch {
	case from == "" && errLast == nil:
		first, last = max(size-last, 0), size-1
	case errFirst != nil || to != "" && errLast != nil || to != "" && last < first:
		return 0, size, "", nil
	case to == "" || last >= size:
		last = size - 1
	}
	if first > last || first < 0 {
		return 0, 0, "", errorf("InvalidRange", "The requested range is not satisfiable")
	}
	return first, last - first + 1, fmt.Sprintf("bytes %d-%d/%d", first, last, size), nil
}

// part is the range of a version that it was uploaded in as a part.
func part(v version, size int64, number string) (first, length int64, shown string, count int, err error) {
	n, err := strconv.Atoi(number)
	sizes := props.List(v, "parts")
	if err != nil || n < 1 || n > 10000 {
		return 0, 0, "", 0, errorf("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
	}
	if len(sizes) == 0 && n == 1 {
		return 0, size, fmt.Sprintf("bytes 0-%d/%d", max(size-1, 0), size), 0, nil
	}
	if n > len(sizes) {
		return 0, 0, "", 0, errorf("InvalidPartNumber", "The requested partnumber is not satisfiable")
	}
	for _, s := range sizes[:n-1] {
		first += int64(whole(s))
	}
	length = int64(whole(sizes[n-1]))
	return first, length, fmt.Sprintf("bytes %d-%d/%d", first, first+length-1, size), len(sizes), nil
}

// whole is a number of an account's value.
func whole(v any) int { return props.Int(v, 0) }

// overrides are the headers that a reader may choose, by their parameters.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
var overrides = map[string]string{
	"response-cache-control": "Cache-Control", "response-content-disposition": "Content-Disposition", "response-content-encoding": "Content-Encoding",
	"response-content-language": "Content-Language", "response-content-type": "Content-Type", "response-expires": "Expires",
}

func (a *api) getObject(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	h := headers(r)
	v, err := find(tx, b.ID, r.String("Key"), r.String("versionId"))
	if err != nil {
		if v["marker"] == true {
			// The refusal of a marker says that it is one.
			e, ok := err.(*account.Error)
			if ok {
				return wire.Raw{Status: e.Status, Header: answer("X-Amz-Delete-Marker", "true", "X-Amz-Version-Id", props.Str(v, "id"), "Content-Type", "application/xml"), Body: refusal(r, e)}, nil
			}
		}
		return nil, err
	}
	etag := props.Str(v, "etag")
	modified, _ := v["modified"].(time.Time)
	status, err := condition(etag, modified, h["if-match"], h["if-none-match"], h["if-modified-since"], h["if-unmodified-since"])
	if err != nil {
		return nil, err
	}
	if status != 0 {
		return wire.Raw{Status: status, Header: answer("Etag", etag, "Last-Modified", modified.UTC().Format(http.TimeFormat))}, nil
	}
	kept := props.Map(v, "headers")
	if key := props.Str(kept, "x-amz-server-side-encryption-aws-kms-key-id"); key != "" {
		if _, err := usable(tx, b, r.String("Key"), key, "kms:Decrypt"); err != nil {
			return nil, err
		}
	}
	size := int64(props.Int(v, 0, "size"))
	first, length, shown, err := span(size, h["range"])
	count := 0
	if number := r.String("partNumber"); number != "" {
		first, length, shown, count, err = part(v, size, number)
	}
	if err != nil {
		return nil, err
	}
	out := http.Header(answer("Etag", etag, "Last-Modified", modified.UTC().Format(http.TimeFormat), "Accept-Ranges", "bytes", "Content-Length", strconv.FormatInt(length, 10),
		"Content-Range", shown, "X-Amz-Version-Id", shownID(b, props.Str(v, "id")), "X-Amz-Object-Lock-Mode", props.Str(v, "mode")))
	if count > 0 {
		out.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(count))
	}
	for k, x := range kept {
		switch {
		case k == "x-amz-tagging":
			if tags, err := parseTags(props.Str(x)); err == nil && len(tags) > 0 {
				out.Set("X-Amz-Tagging-Count", strconv.Itoa(len(tags)))
			}
		case strings.HasPrefix(k, "x-amz-checksum-") && (h["x-amz-checksum-mode"] != "ENABLED" || shown != ""):
		default:
			out.Set(k, props.Str(x))
		}
	}
	if until, ok := v["until"].(time.Time); ok {
		out.Set("X-Amz-Object-Lock-Retain-Until-Date", wire.ISO(until))
	}
	if v["hold"] == true {
		out.Set("X-Amz-Object-Lock-Legal-Hold", "ON")
	}
	for parameter, header := range overrides {
		if value := r.String(parameter); value != "" {
			out.Set(header, value)
		}
	}
	status = http.StatusOK
	if shown != "" {
		status = http.StatusPartialContent
	}
	list := bodies(v)
	return wire.Raw{Status: status, Header: out, Content: func(ctx context.Context) (io.ReadCloser, error) {
		in := a.open(ctx, list, first, length)
		if length == 0 {
			return in, nil
		}
		// What can't be opened is refused, not cut short.
		return in, in.next()
	}}, nil
}
