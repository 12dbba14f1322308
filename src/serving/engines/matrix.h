// Matrices that model files store: dense arrays of numpy, or scipy's compressed sparse rows. Plain values.
#pragma once
#include <span>
#include <vector>

#include "serving/engines/estimator.h"

namespace mr::serving {

struct Matrix {
  std::size_t rows = 0;
  std::size_t columns = 0;
  bool sparse = false;
  std::vector<double> data;  // row-major; of a sparse one, the stored values
  std::vector<std::size_t> starts;
  std::vector<std::uint32_t> indices;

  [[nodiscard]] std::span<const double> row(std::size_t r) const { return {data.data() + r * columns, columns}; }
};

// A two-dimensional attribute of finite numbers; a vector counts as one column. Errors: another form, or indices that
// do not fit the shape.
Result<Matrix> read_matrix(const Build& build, NodeId id, std::string_view attribute);
// The same of a value that is no attribute (an item of a list); `owner` and `what` are for errors.
Result<Matrix> matrix_of(const Build& build, NodeId value, NodeId owner, std::string_view what);
// The same, never sparse. Errors: too large to be dense.
Result<Matrix> read_dense(const Build& build, NodeId id, std::string_view attribute);

}  // namespace mr::serving
