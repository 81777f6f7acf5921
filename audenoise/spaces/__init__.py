"""Search spaces: a base spec and, for each place in it, a choice or a range. A space is data, like a spec.

    base: standard                       # a recipe's name, a path beside this file, or a spec
    search:
      input.compression: [0.3, 0.5, 1.0]                                # a choice
      training.learning_rate: {min: 0.0005, max: 0.005, log: true}      # a range
      width: {choice: [16, 24, 32], keys: ["encoder[*].filters", "decoder[*].filters"]}  # several at once
      mask:                                                             # settings with names
        options:
          complex: {output.kind: complex_mask}
          magnitude: {output.kind: magnitude_mask, output.activation: sigmoid}

They are applied in the order of the file, so that one may replace all of `encoder` and the next set its
filters. `when: {mask: complex}` makes one depend on another. `keys` may also be a dictionary of factors.
"""

from audenoise.spaces.parsing import list_spaces, load_space, parse_space
from audenoise.spaces.space import Hyperparameter, Space, Value

__all__ = ["Hyperparameter", "Space", "Value", "list_spaces", "load_space", "parse_space"]
