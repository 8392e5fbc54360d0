"""What is shipped for running it: configurations of other programs, checked with those programs'
own tools, and against each other."""
