"""HTML reports: one offline file each, from results to text; `page` frames, `svg` and `plots` draw."""
