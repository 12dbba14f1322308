// Small numeric helpers that families of estimators share: rows of dense or sparse frames, the logistic function,
// shares. Pure; a Rows object serves one thread.
#pragma once
#include <cmath>
#include <span>
#include <vector>

#include "serving/types.h"

namespace mr::serving {

// The rows of a frame as dense rows, one at a time: a sparse row is written into a buffer of one row, so that a wide
// sparse frame never becomes a wide dense one. The frame must outlive it; a span is good until the next call.
class Rows {
 public:
  explicit Rows(const Frame& frame) : frame_(frame), buffer_(frame.sparse ? frame.columns : 0, 0.0) {}
  std::span<const double> operator[](std::size_t row) {
    if (!frame_.sparse) return {frame_.data.data() + row * frame_.columns, frame_.columns};
    for (auto i : written_) buffer_[i] = 0;
    written_.clear();
    for (auto at = frame_.starts[row]; at < frame_.starts[row + 1]; ++at) {
      buffer_[frame_.indices[at]] += frame_.values[at];
      written_.push_back(frame_.indices[at]);
    }
    return buffer_;
  }

 private:
  const Frame& frame_;
  std::vector<double> buffer_;
  std::vector<std::uint32_t> written_;
};

// 1 / (1 + exp(-d)) without overflow.
inline double expit(double d) {
  if (d >= 0) return 1 / (1 + std::exp(-d));
  double e = std::exp(d);
  return e / (1 + e);
}

// Log-odds to probabilities that sum to 1, in place.
inline void softmax(std::span<double> row) {
  double top = row[0];
  for (double v : row) top = std::max(top, v);
  double sum = 0;
  for (double& v : row) sum += v = std::exp(v - top);
  for (double& v : row) v /= sum;
}

// The first of the greatest values, as numpy.argmax.
inline std::size_t argmax(std::span<const double> row) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < row.size(); ++i)
    if (row[i] > row[best]) best = i;
  return best;
}

inline double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline Frame frame_of(std::size_t rows, std::size_t columns, std::vector<double> data) {
  Frame f;
  f.rows = rows;
  f.columns = columns;
  f.data = std::move(data);
  return f;
}

inline Output numbers_of(std::size_t rows, std::size_t width, std::vector<double> data) {
  Output out;
  out.rows = rows;
  out.width = width;
  out.numbers = std::move(data);
  return out;
}

}  // namespace mr::serving
