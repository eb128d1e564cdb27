package api

// Filters are the filters that each Describe operation knows.
func Filters() map[string][]string {
	out := map[string][]string{}
	for _, list := range [][]listing{networkListings(), filterListings(), instanceListings(), placeListings()} {
		for _, l := range list {
			out[l.name] = []string{}
			for f := range l.filters {
				out[l.name] = append(out[l.name], f)
			}
		}
	}
	return out
}
