// How far rows are from each other, and which of the stored ones are near, by looking at each of them (what trees of
// neighbours find too). Neighbours at equal distances: the earlier row comes first. Immutable once read.
#pragma once
#include <span>
#include <vector>

#include "serving/engines/matrix.h"

namespace mr::serving {

class Metric {
 public:
  enum class Kind : std::uint8_t {
    euclidean,
    squared,
    manhattan,
    chebyshev,
    minkowski,
    cosine,
    canberra,
    bray_curtis,
    hamming
  };
  Kind kind = Kind::euclidean;
  double p = 2;

  // A number that grows with the distance, and the distance made of it.
  [[nodiscard]] double rank(std::span<const double> a, std::span<const double> b) const;
  [[nodiscard]] double distance(double rank_value) const {
    if (kind == Kind::euclidean) return std::sqrt(rank_value);
    return kind == Kind::minkowski ? std::pow(rank_value, 1 / p) : rank_value;
  }

  static Result<Metric> read(const Build& b, NodeId id, const char* attribute, const char* parameters);
};

struct Neighbour {
  double distance;
  std::size_t row;
  bool operator<(const Neighbour& o) const { return distance < o.distance || (distance == o.distance && row < o.row); }
};

// The rows that were fitted, and how to find those near another.
class Fitted {
 public:
  Metric metric;
  Matrix x;
  std::size_t count = 5;
  double radius = -1;  // of RadiusNeighbors*, else negative

  [[nodiscard]] std::vector<Neighbour> near(std::span<const double> row) const;

 private:
  [[nodiscard]] std::span<const double> at(std::size_t r, std::vector<double>& buffer) const;
};

// Part of add_neighbours().
void add_outliers(Makers& makers);

}  // namespace mr::serving
