"""`make bench`: how near to OpenVINO's own speed the server comes, in one run."""
