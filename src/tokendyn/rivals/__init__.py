"""Other people's models behind the interfaces of the systems: what tokendyn is compared with.

No system needs anything here; the studies and the comparing commands do.
"""
