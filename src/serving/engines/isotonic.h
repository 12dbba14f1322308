// Isotonic regression: a line through points that never fall (or never rise). A plain value.
#pragma once
#include <vector>

#include "serving/engines/estimator.h"

namespace mr::serving {

struct Isotonic {
  enum class Outside : std::uint8_t { nan, clip, refuse };
  std::vector<double> x;  // ascending
  std::vector<double> y;
  Outside outside = Outside::nan;

  static Result<Isotonic> read(const Build& build, NodeId id);
  // Errors (invalid_argument): out of the fitted range, where the model says that this is an error.
  [[nodiscard]] Result<double> at(double v) const;
};

}  // namespace mr::serving
