// coef_ and intercept_ of a linear model and what they give: decisions, labels, probabilities, means. The one place of
// their formulas: the engine for plain linear pipelines and the estimators of the graph both compute with it. A plain
// value; its functions are thread safe.
#pragma once
#include <string>
#include <vector>

#include "serving/formats/tree.h"
#include "serving/types.h"

namespace mr::serving {

class LinearModel {
 public:
  enum class Task : std::uint8_t { regress, classify, outlier, multilabel };
  enum class Probability : std::uint8_t { none, logistic_ovr, softmax, binary_softmax, modified_huber };

  // Errors (invalid_argument) name the class and the attribute.
  static Result<LinearModel> read(const Tree& tree, NodeId id);
  // Whether read() knows "sklearn.….NAME" by its NAME.
  static bool knows(std::string_view name);
  static const std::vector<std::string>& class_names();

  // rows x outputs(): x holds rows x features numbers.
  [[nodiscard]] std::vector<double> decide(const double* x, std::size_t rows) const;
  [[nodiscard]] std::vector<double> decide(const Frame& in) const;  // dense or sparse
  [[nodiscard]] Output predict(std::vector<double> decisions, std::size_t rows, bool f32) const;
  // rows x classes. Only where probability is not none.
  [[nodiscard]] std::vector<double> probabilities(const std::vector<double>& decisions, std::size_t rows) const;

  [[nodiscard]] std::size_t features() const { return n_; }
  [[nodiscard]] std::size_t outputs() const { return k_; }
  [[nodiscard]] bool in_f32() const { return coef_f32_; }
  [[nodiscard]] const Array& classes() const { return classes_; }
  [[nodiscard]] bool classifies() const { return task_ == Task::classify; }
  [[nodiscard]] bool decides() const { return task_ != Task::regress; }
  [[nodiscard]] Probability probability() const { return probability_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  Result<> read_classes(const Tree& tree, NodeId id);
  void set_probability(const Tree& tree, NodeId id);
  void probabilities_of(const double* d, double* p, std::size_t width) const;

  Task task_ = Task::regress;
  Probability probability_ = Probability::none;
  bool exponential_ = false;  // the mean is exp(decision)
  std::size_t n_ = 0;
  std::size_t k_ = 0;
  std::vector<double> coef_;  // k * n
  std::vector<double> intercept_;
  bool coef_f32_ = false;
  Array classes_;
  std::string name_;
};

}  // namespace mr::serving
