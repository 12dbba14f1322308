// What classifiers of pairs of classes share: votes with confidences (scikit-learn's one-vs-one), kernels between rows,
// and probabilities of two classes coupled to those of many.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "serving/engines/matrix.h"

namespace mr::serving {

// Votes of `classes` * (classes - 1) / 2 pairs (0,1), (0,2), … (1,2), …: second[p] says that the pair's second class
// won; confidence[p] speaks for it. Adds to each vote a part below 1/3 by confidence, so that ties fall by it.
void vote_of_pairs(std::size_t classes, std::span<const double> second, std::span<const double> confidence,
                   std::span<double> out);

struct Kernel {
  enum class Kind : std::uint8_t { linear, polynomial, rbf, sigmoid, laplacian, cosine } kind = Kind::linear;
  double gamma = 1;
  double coef0 = 0;
  double degree = 3;

  // `x`: a dense row, with the sum of its squares. Row `r` of `m`, dense or sparse.
  [[nodiscard]] double operator()(std::span<const double> x, double squares, const Matrix& m, std::size_t r) const;
};
// By scikit-learn's name; unimplemented otherwise ("precomputed", a function).
Result<Kernel::Kind> kernel_kind(const Build& build, NodeId id);

// Class probabilities of one row from those of pairs: r[i * k + j] is that of i against j (Wu, Lin and Weng, 2004,
// second method, to libsvm's accuracy).
std::vector<double> couple_probabilities(std::size_t k, const std::vector<double>& r);

}  // namespace mr::serving
