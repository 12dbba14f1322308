// What transformers share: reading columns of a frame, checks of their values, and joining the results of several.
// Pure functions; transformers are immutable once built.
#pragma once
#include <span>
#include <vector>

#include "serving/engines/estimator.h"

namespace mr::serving {

// How many columns and cells one model may have or make.
constexpr std::size_t kMaxColumns = std::size_t{1} << 24;
constexpr std::size_t kMaxCells = std::size_t{1} << 26;

// n_features_in_; where the file has none, `fallback`. Errors: it is no count.
Result<std::size_t> feature_count(const Build& b, NodeId id, std::size_t fallback = 0);
// Exactly `n` numbers, which may be NaN or infinite.
Result<std::vector<double>> values_of(const Build& b, NodeId id, std::string_view attribute, std::size_t n);
// The numbers of any array, list or tuple of numbers at `id`, whatever their count.
Result<std::vector<double>> numbers_at(const Tree& t, NodeId id);
std::unexpected<Error> at_column(std::size_t column, std::string_view what);  // "column #3 WHAT"
// "#N" in an error's text becomes "#columns[N]"; with no columns, "N WHERE", which names no column of the request.
Error renumbered(Error e, std::span<const std::size_t> columns);
Error placed(Error e, std::string_view where);
// Whether a dtype parameter is numpy.float32.
bool is_float32(const Tree& t, NodeId dtype);

inline double to_f32(double v) { return static_cast<double>(static_cast<float>(v)); }

// The function of one number that `func`, a value of the estimator `id`, names. Errors: it is not known.
using Ufunc = double (*)(double);
Result<Ufunc> named_function(const Build& b, NodeId id, NodeId func);

// Frames side by side; `sparse`: as sparse rows. All have the same number of rows.
Result<Frame> side_by_side(std::vector<Frame> parts, std::size_t rows, bool sparse);

// A transformer that reads its columns out of the frame where they stand.
class ColumnsTransform : public Estimator {
 public:
  [[nodiscard]] std::size_t features() const override { return n_; }
  void set_features(std::size_t n);
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override;
  [[nodiscard]] Result<Frame> transform_columns(const Frame& in, std::span<const std::size_t> columns) const override;

 protected:
  // `in` is not sparse, has rows, and all of `columns`, of which there are features(). Errors name columns of `in`.
  [[nodiscard]] virtual Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const = 0;
  std::size_t n_ = 0;

 private:
  std::vector<std::size_t> all_;
};

// A transformer of numbers alone. compute() gets a frame of its own with features() columns, checked.
class NumberTransform : public ColumnsTransform {
 public:
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override;

 protected:
  enum class Take : std::uint8_t { finite, missing, anything };  // missing: NaN, but no infinity
  Take take = Take::missing;
  [[nodiscard]] Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const final;
  [[nodiscard]] virtual Result<Frame> compute(Frame in) const = 0;
};

// Parts of add_scalers().
void add_scalers_of_columns(Makers& makers);
void add_imputers(Makers& makers);
void add_iterative(Makers& makers);
void add_bases(Makers& makers);
// Parts of add_decomposition().
void add_selectors(Makers& makers);
void add_kernel_maps(Makers& makers);
void add_maps(Makers& makers);
void add_topics(Makers& makers);

}  // namespace mr::serving
