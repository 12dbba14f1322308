#include "serving/engines/isotonic.h"

namespace mr::serving {

Result<Isotonic> Isotonic::read(const Build& b, NodeId id) {
  Isotonic i;
  MR_TRY(i.x, b.numbers(id, "X_thresholds_"));
  MR_TRY(i.y, b.numbers(id, "y_thresholds_"));
  if (i.x.empty() || i.x.size() != i.y.size())
    return b.bad(id, "X_thresholds_ and y_thresholds_ do not fit each other");
  if (!std::is_sorted(i.x.begin(), i.x.end())) return b.bad(id, "X_thresholds_ is not ascending");
  auto outside = b.text_or(id, "out_of_bounds", "nan");
  i.outside = outside == "clip" ? Outside::clip : outside == "raise" ? Outside::refuse : Outside::nan;
  return i;
}

Result<double> Isotonic::at(double v) const {
  if (x.size() == 1) return y[0];
  if (outside == Outside::clip) v = std::clamp(v, x.front(), x.back());
  if (!(v >= x.front() && v <= x.back())) {
    if (outside == Outside::nan) return std::nan("");
    return fail(Code::invalid_argument,
                fmt::format("a value is outside of the fitted range, {} to {}", x.front(), x.back()));
  }
  // The segment whose end is the first threshold not below v.
  auto end = static_cast<std::size_t>(std::lower_bound(x.begin(), x.end(), v) - x.begin());
  end = std::clamp<std::size_t>(end, 1, x.size() - 1);
  double width = x[end] - x[end - 1];
  double slope = width == 0 ? 0 : (y[end] - y[end - 1]) / width;
  return slope * (v - x[end - 1]) + y[end - 1];
}

}  // namespace mr::serving
