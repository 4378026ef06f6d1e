"""Single planes of any size: looked at in the parts that suit objects, answered as one."""
