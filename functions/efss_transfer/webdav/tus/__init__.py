"""Resumable uploads by tus (tus.io, version 1.0.0), as oCIS and OpenCloud offer them."""
