"""What docker-compose.yml says, started as plain processes where no container engine is at hand, and put to work.

`composed` reads the file, `network` gives each container an address of its own, `containers` starts and ends them,
`postgres` stands in for the one image that is not built here, `story` says what is tried.
"""
