"""How transferable are the features of layer n? (Yosinski et al., NIPS 2014), as software."""

__version__ = "0.1.0"
