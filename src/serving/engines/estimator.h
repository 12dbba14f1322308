// What every estimator of scikit-learn's kind becomes: an object that transforms a frame or predicts on it, rebuilt
// from the inert tree of a model file. Meta-estimators (pipelines, votes, stacks) hold others. Immutable and thread
// safe once built; building is single-threaded.
//
// One file a family (engines/linear.cpp, trees.cpp, ...): each adds its classes to the table by its add_*() below, so
// the code of a class is found by searching for its name.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "serving/formats/tree.h"
#include "serving/types.h"

namespace mr::serving {

class Estimator {
 public:
  virtual ~Estimator() = default;
  // n_features_in_; 0: takes what comes (a text vectoriser, a FunctionTransformer).
  [[nodiscard]] virtual std::size_t features() const = 0;
  // feature_names_in_, or empty.
  [[nodiscard]] virtual const std::vector<std::string>& feature_names() const { return names; }
  // classes_ of a classifier; null for all others.
  [[nodiscard]] virtual const Array* classes() const { return nullptr; }

  // Shapes: `in` is rows x features(); transform gives rows x (its own width); predict gives rows x outputs (labels in
  // the type of classes_); predict_proba rows x classes; decision_function rows x 1 or rows x classes, as scikit-learn.
  // predict_proba of several outputs (a forest's, whose answer is a frame for each: shares_of_outputs) and what an
  // estimator lacks are refused (unimplemented), naming it.
  // Errors of values: invalid_argument, the column as "#3".
  [[nodiscard]] virtual Result<Frame> transform(const Frame& in) const;
  [[nodiscard]] virtual Result<Output> predict(const Frame& in) const;
  [[nodiscard]] virtual Result<Frame> predict_proba(const Frame& in) const;
  // predict_proba of each output, where scikit-learn answers a list; of all others that one frame.
  [[nodiscard]] virtual Result<std::vector<Frame>> shares_of_outputs(const Frame& in) const;
  [[nodiscard]] virtual Result<Frame> decision_function(const Frame& in) const;

  // True: takes sparse frames (see engines/rows.h). What holds others (a Pipeline) makes rows dense for those that do
  // not, so an estimator that says nothing never meets one.
  [[nodiscard]] virtual bool takes_sparse() const { return false; }
  // transform() of some columns of a frame, in that order; encoders read them where they are, without a copy.
  [[nodiscard]] virtual Result<Frame> transform_columns(const Frame& in, std::span<const std::size_t> columns) const;

  std::string name;                // "RandomForestClassifier"
  std::vector<std::string> names;  // feature_names_in_
};
using EstimatorPtr = std::unique_ptr<Estimator>;

// The labels of classes_ at `index`es, as predict answers them: numbers keep their type, texts become BYTES.
Output labels(const Array& classes, const std::vector<std::size_t>& index);
// The columns of a frame, in that order, without names; indices are in range. And a frame without sparse rows.
Frame select_columns(const Frame& in, std::span<const std::size_t> columns);
Result<Frame> dense(Frame in);
// Refuses a frame of another width, of no rows, or with a text column. Infinity and NaN too, unless `missing`.
Result<> check_numbers(const Frame& in, std::size_t features, bool missing = false);

// Walks the tree of one model file. Bounded: depth 64, 100,000 estimators.
class Build {
 public:
  Build(const Tree& t, std::string written_by) : tree(t), written_by_(std::move(written_by)) {}
  const Tree& tree;
  // Bytes that estimators keep beside the arrays that the tree has decoded: those of trees.
  mutable std::size_t memory = 0;
  // The estimator at `id`. Errors name the class that is in the way.
  Result<EstimatorPtr> estimator(NodeId id);

  // scikit-learn's version as 1000 * major + minor (1.5 is 1005): the estimator's own _sklearn_version, else the
  // file's.
  [[nodiscard]] int version_of(NodeId id) const;
  // Attributes of the estimator at `id`. An absent one is an error that names the class and the attribute.
  Result<Array> array(NodeId id, std::string_view attribute) const;                  // any numpy array or scalar
  Result<std::vector<double>> numbers(NodeId id, std::string_view attribute) const;  // finite, flattened
  Result<double> number(NodeId id, std::string_view attribute) const;
  [[nodiscard]] double number_or(NodeId id, std::string_view attribute, double fallback) const;
  [[nodiscard]] bool flag_or(NodeId id, std::string_view attribute, bool fallback) const;
  [[nodiscard]] std::string text_or(NodeId id, std::string_view attribute, std::string fallback) const;
  // Items of a list, tuple or object array; empty when it is none.
  [[nodiscard]] std::vector<NodeId> items(NodeId id, std::string_view attribute) const;
  // "RandomForestClassifier" of "sklearn.ensemble._forest.RandomForestClassifier".
  [[nodiscard]] std::string short_class(NodeId id) const;
  [[nodiscard]] std::unexpected<Error> bad(NodeId id, std::string_view what) const;  // "CLASS: what"

 private:
  std::string written_by_;
  int depth_ = 0;
  int count_ = 0;
};

using Make = std::function<Result<EstimatorPtr>(Build&, NodeId)>;
// Keyed by the full names that files hold, or, where the module moved between versions, by "sklearn" and the class:
// "sklearn*RandomForestClassifier".
using Makers = std::map<std::string, Make, std::less<>>;
void add_linear(Makers& makers);
void add_trees(Makers& makers);       // trees, forests, boosting, isolation forest
void add_neighbours(Makers& makers);  // kNN
void add_bayes(Makers& makers);       // naive Bayes, LDA, QDA
void add_svm(Makers& makers);         // libsvm's
void add_clusters(Makers& makers);    // k-means, mixtures
void add_others(Makers& makers);      // MLP, PLS, kernel ridge, isotonic, dummies
void add_gaussian_processes(Makers& makers);
void add_meta(Makers& makers);         // votes, stacks, bags, calibrated, one-vs-rest, multi-output, transformed target
void add_composition(Makers& makers);  // Pipeline, FeatureUnion, ColumnTransformer, FunctionTransformer
void add_scalers(Makers& makers);      // numbers to numbers: scalers, imputers, discretisers, polynomials, splines
void add_encoders(Makers& makers);     // categories to numbers
void add_text(Makers& makers);         // vectorisers
void add_decomposition(Makers& makers);  // PCA and kin, feature selectors
void add_boosters(Makers& makers);       // XGBoost's, LightGBM's and CatBoost's scikit-learn classes
void add_statsmodels(Makers& makers);    // results of statsmodels' linear models
const Makers& makers();                  // all of them

// An Engine over a root estimator: predict_fn is MLflow's (predict, predict_proba, predict_log_proba,
// decision_function, transform).
Result<std::unique_ptr<Engine>> make_engine(const Tree& tree, const std::string& predict_fn,
                                            const std::string& written_by);

}  // namespace mr::serving
