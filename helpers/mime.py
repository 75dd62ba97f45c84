"""What a notebook's outputs carry for the press, beside what every viewer shows."""

RECORD = "application/vnd.homework.record+json"  # {name, value, text}
CLAIM = "application/vnd.homework.claim+json"  # {name, holds, evidence}
STAMP = "application/vnd.homework.stamp+json"  # {profile, seed, data, device, versions, commit}
SOURCE = "text/x-python"  # the source of a helper, shown where the prose explains it
