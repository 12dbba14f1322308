// Many classes by classifiers of two (one against the rest, against each other, by codes), and many outputs by models
// of one (side by side, in chains).
#include "serving/engines/member.h"
#include "serving/engines/pairwise.h"
#include "serving/engines/rows.h"

namespace mr::serving {

namespace {

// A column for each member: how much its row is of the member's positive class.
struct Scores {
  Frame frame;
  double threshold = 0;  // above it, a row is of the positive class
};

Result<Scores> binary_scores(const std::deque<Member>& members, const Frame& in) {
  std::vector<Frame> parts;
  Scores out;
  for (std::size_t m = 0; m < members.size(); ++m) {
    MR_TRY(auto response, members[m].response(in));
    if (response.first.columns != 1) return fail(Code::internal, "a part of the model does not answer two classes");
    if (m == 0) out.threshold = response.second == Method::decision_function ? 0 : 0.5;
    parts.push_back(std::move(response.first));
  }
  out.frame = beside(parts);
  return out;
}

// What stands in for a classifier when all rows of a class agree.
class Constant : public Estimator {
 public:
  double value = 0;
  [[nodiscard]] std::size_t features() const override { return 0; }
  [[nodiscard]] bool takes_sparse() const override { return true; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    return numbers_of(in.rows, 1, std::vector<double>(in.rows, value));
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    return frame_of(in.rows, 1, std::vector<double>(in.rows, value));
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    std::vector<double> out;
    for (std::size_t r = 0; r < in.rows; ++r) {
      out.push_back(1 - value);
      out.push_back(value);
    }
    return frame_of(in.rows, 2, std::move(out));
  }
};

class Several : public Estimator {
 public:
  std::deque<Member> members;
  [[nodiscard]] std::size_t features() const override {
    for (const auto& m : members)
      if (m->features() != 0) return m->features();
    return 0;
  }
  [[nodiscard]] bool takes_sparse() const override { return all_take_sparse(members); }
};

class OneVsRest : public Several {
 public:
  Array labels_of;
  bool multilabel = false;
  bool last_of_equals = false;  // what wins before 1.8
  [[nodiscard]] const Array* classes() const override { return multilabel ? nullptr : &labels_of; }

  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto scores, binary_scores(members, in));
    auto& f = scores.frame;
    if (multilabel) {
      for (double& v : f.data) v = v > scores.threshold ? 1 : 0;
      auto out = numbers_of(f.rows, f.columns, std::move(f.data));
      out.type = DataType::int64;
      return out;
    }
    std::vector<std::size_t> best(in.rows, 0);
    for (std::size_t r = 0; r < in.rows; ++r) {
      const double* row = f.data.data() + r * f.columns;
      if (f.columns == 1) {
        best[r] = row[0] > scores.threshold ? 1 : 0;
        continue;
      }
      for (std::size_t c = 1; c < f.columns; ++c)
        if (row[c] > row[best[r]] || (last_of_equals && row[c] == row[best[r]])) best[r] = c;
    }
    return labels(labels_of, best);
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    std::vector<Frame> parts;
    for (const auto& m : members) {
      MR_TRY(auto part, m->decision_function(in));
      parts.push_back(std::move(part));
    }
    return beside(parts);
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    std::vector<Frame> parts;
    for (const auto& m : members) {
      MR_TRY(auto part, m.scores(in, Method::predict_proba));
      if (part.columns != 1) return fail(Code::internal, "a part of the model does not answer two classes");
      parts.push_back(std::move(part));
    }
    if (parts.size() == 1) {
      auto first = parts[0];
      for (double& v : first.data) v = 1 - v;
      parts.insert(parts.begin(), std::move(first));
    }
    auto out = beside(parts);
    if (multilabel) return out;
    for (std::size_t r = 0; r < out.rows; ++r) {
      double sum = 0;
      double* row = out.data.data() + r * out.columns;
      for (std::size_t c = 0; c < out.columns; ++c) sum += row[c];
      if (sum != 0)
        for (std::size_t c = 0; c < out.columns; ++c) row[c] /= sum;
    }
    return out;
  }
};

Result<EstimatorPtr> make_one_vs_rest(Build& b, NodeId id) {
  auto e = std::make_unique<OneVsRest>();
  MR_TRY(e->members, read_members(b, id, "estimators_"));
  auto binarizer = b.tree.get(id, "label_binarizer_");
  e->multilabel = b.text_or(binarizer, "y_type_", "").starts_with("multilabel");
  if (e->multilabel) return e;
  MR_TRY(e->labels_of, b.array(binarizer, "classes_"));
  const auto version = b.version_of(id);
  e->last_of_equals = version != 0 && version < 1008;
  if (e->labels_of.size() != (e->members.size() == 1 ? 2 : e->members.size()))
    return b.bad(id, "estimators_ and classes_ do not fit each other");
  return e;
}

class OneVsOne : public Several {
 public:
  Array labels_of;
  bool by_zero = false;  // 1.0 compares with 0 whatever the two classes' scores are
  [[nodiscard]] const Array* classes() const override { return &labels_of; }

  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    MR_TRY(auto votes, all_votes(in));
    return std::move(votes.frame);
  }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto votes, all_votes(in));
    const auto k = votes.frame.columns;
    std::vector<std::size_t> best(in.rows);
    for (std::size_t r = 0; r < in.rows; ++r)
      best[r] = k == 1 ? (votes.frame.data[r] > (by_zero ? 0 : votes.threshold) ? 1U : 0U)
                       : argmax({votes.frame.data.data() + r * k, k});
    return labels(labels_of, best);
  }

 private:
  [[nodiscard]] Result<Scores> all_votes(const Frame& in) const {
    MR_TRY(auto scores, binary_scores(members, in));
    std::vector<Frame> parts;
    for (const auto& m : members) {
      MR_TRY(auto part, m.numbers(in));
      parts.push_back(std::move(part));
    }
    auto second = beside(parts);
    const auto pairs = members.size();
    if (second.columns != pairs) return fail(Code::internal, "a part of the model has several outputs");
    const auto k = labels_of.size();
    std::vector<double> out(in.rows * k);
    for (std::size_t r = 0; r < in.rows; ++r)
      vote_of_pairs(k, {second.data.data() + r * pairs, pairs}, {scores.frame.data.data() + r * pairs, pairs},
                    {out.data() + r * k, k});
    if (k == 2) {
      for (std::size_t r = 0; r < in.rows; ++r) out[r] = out[2 * r + 1];
      out.resize(in.rows);
    }
    return Scores{frame_of(in.rows, k == 2 ? 1 : k, std::move(out)), scores.threshold};
  }
};

Result<EstimatorPtr> make_one_vs_one(Build& b, NodeId id) {
  auto e = std::make_unique<OneVsOne>();
  MR_TRY(e->members, read_members(b, id, "estimators_"));
  MR_TRY(e->labels_of, b.array(id, "classes_"));
  const auto k = e->labels_of.size();
  if (k < 2 || k > 10'000 || e->members.size() != k * (k - 1) / 2)
    return b.bad(id, "estimators_ and classes_ do not fit each other");
  const auto version = b.version_of(id);
  e->by_zero = version != 0 && version < 1001;
  if (!b.tree.is_none(b.tree.get(id, "pairwise_indices_")))
    return fail(Code::unimplemented, "OneVsOneClassifier over kernel matrices is not read natively");
  return e;
}

class OutputCode : public Several {
 public:
  Array labels_of;
  Matrix code;
  [[nodiscard]] const Array* classes() const override { return &labels_of; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto scores, binary_scores(members, in));
    std::vector<std::size_t> best(in.rows);
    std::vector<double> near(code.rows);
    for (std::size_t r = 0; r < in.rows; ++r) {
      const double* row = scores.frame.data.data() + r * code.columns;
      for (std::size_t c = 0; c < code.rows; ++c) {
        near[c] = 0;
        for (std::size_t i = 0; i < code.columns; ++i) near[c] -= (row[i] - code.row(c)[i]) * (row[i] - code.row(c)[i]);
      }
      best[r] = argmax(near);
    }
    return labels(labels_of, best);
  }
};

Result<EstimatorPtr> make_output_code(Build& b, NodeId id) {
  auto e = std::make_unique<OutputCode>();
  MR_TRY(e->members, read_members(b, id, "estimators_"));
  MR_TRY(e->labels_of, b.array(id, "classes_"));
  MR_TRY(e->code, read_dense(b, id, "code_book_"));
  if (e->code.rows == 0 || e->code.rows != e->labels_of.size() || e->code.columns != e->members.size())
    return b.bad(id, "code_book_ does not fit its estimators and classes");
  return e;
}

class MultiOutput : public Several {
 public:
  bool classifier = false;
  [[nodiscard]] Result<std::vector<Frame>> shares_of_outputs(const Frame& in) const override {
    if (!classifier) return Estimator::shares_of_outputs(in);
    std::vector<Frame> out;
    for (const auto& m : members) {
      MR_TRY(auto part, m->predict_proba(in));
      out.push_back(std::move(part));
    }
    return out;
  }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    std::vector<Output> parts;
    Output out = numbers_of(in.rows, 0, {});
    for (const auto& m : members) {
      MR_TRY(auto part, m->predict(in));
      if (part.rows != in.rows || part.width != 1)
        return fail(Code::internal, "a part of the model has several outputs");
      if (!parts.empty() && (part.type == DataType::bytes) != (parts[0].type == DataType::bytes))
        return fail(Code::unimplemented, name + " answers texts beside numbers, which is not done natively");
      out.type = parts.empty() || part.type == out.type ? part.type : DataType::fp64;
      parts.push_back(std::move(part));
    }
    out.width = parts.size();
    for (std::size_t r = 0; r < in.rows; ++r)
      for (auto& p : parts) {
        if (p.type == DataType::bytes)
          out.texts.push_back(std::move(p.texts[r]));
        else
          out.numbers.push_back(p.numbers[r]);
      }
    return out;
  }
};

// Each member gets the row and what the members before it said.
class Chain : public Several {
 public:
  std::vector<std::size_t> order;  // the output of each member
  Method link = Method::predict;
  bool classifier = false;

  [[nodiscard]] bool takes_sparse() const override { return false; }
  [[nodiscard]] Result<Output> predict(const Frame& in) const override {
    MR_TRY(auto out, run(in, Method::predict));
    return numbers_of(out.rows, out.columns, std::move(out.data));
  }
  [[nodiscard]] Result<Frame> predict_proba(const Frame& in) const override {
    if (!classifier) return Estimator::predict_proba(in);
    return run(in, Method::predict_proba);
  }
  [[nodiscard]] Result<Frame> decision_function(const Frame& in) const override {
    if (!classifier) return Estimator::decision_function(in);
    return run(in, Method::decision_function);
  }

 private:
  [[nodiscard]] Result<Frame> run(const Frame& in, Method wanted) const {
    MR_CHECK(check_numbers(in, features()));
    Frame now = in;
    now.names.clear();
    const auto k = members.size();
    std::vector<double> out(in.rows * k);
    for (std::size_t m = 0; m < k; ++m) {
      MR_TRY(auto said, members[m].scores(now, link));
      MR_TRY(auto answer, wanted == link ? Result<Frame>(said) : members[m].scores(now, wanted));
      if (said.columns != 1 || answer.columns != 1)
        return fail(Code::internal, "a part of the model has several outputs");
      for (std::size_t r = 0; r < in.rows; ++r) out[r * k + order[m]] = answer.data[r];
      now = beside({now, said});
      now.f32 = false;  // what is said is kept in 64-bit floats
    }
    return frame_of(in.rows, k, std::move(out));
  }
};

Result<EstimatorPtr> make_chain(Build& b, NodeId id, bool classifier) {
  auto e = std::make_unique<Chain>();
  e->classifier = classifier;
  MR_TRY(e->members, read_members(b, id, "estimators_"));
  const auto k = e->members.size();
  std::vector<double> order;
  for (auto item : b.items(id, "order_")) {
    auto a = b.tree.array_of(item);
    if (a && a->numbers.size() == 1) order.push_back(a->numbers[0]);
  }
  if (order.empty()) {
    MR_TRY(order, b.numbers(id, "order_"));
  }
  if (order.size() != k) return b.bad(id, "order_ does not fit its estimators");
  std::vector<bool> seen(k, false);
  for (double o : order) {
    if (!(o >= 0 && o < static_cast<double>(k)) || seen[static_cast<std::size_t>(o)])
      return b.bad(id, "order_ is no order of its estimators");
    seen[static_cast<std::size_t>(o)] = true;
    e->order.push_back(static_cast<std::size_t>(o));
  }
  for (std::size_t m = 0; m < k; ++m)
    if (e->members[m]->features() != 0 && e->members[m]->features() != e->members[0]->features() + m)
      return b.bad(id, "its estimators do not follow each other");
  e->link = method_named(b.text_or(id, "chain_method_", "predict")).value_or(Method::predict);
  return e;
}

}  // namespace

void add_multi(Makers& makers) {
  makers["sklearn*OneVsRestClassifier"] = make_one_vs_rest;
  makers["sklearn*OneVsOneClassifier"] = make_one_vs_one;
  makers["sklearn*OutputCodeClassifier"] = make_output_code;
  makers["sklearn*_ConstantPredictor"] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
    auto e = std::make_unique<Constant>();
    MR_TRY(e->value, b.number(id, "y_"));
    return e;
  };
  for (const char* name : {"MultiOutputRegressor", "MultiOutputClassifier"})
    makers[fmt::format("sklearn*{}", name)] = [](Build& b, NodeId id) -> Result<EstimatorPtr> {
      auto e = std::make_unique<MultiOutput>();
      e->classifier = b.short_class(id) == "MultiOutputClassifier";
      MR_TRY(e->members, read_members(b, id, "estimators_"));
      return e;
    };
  makers["sklearn*ClassifierChain"] = [](Build& b, NodeId id) { return make_chain(b, id, true); };
  makers["sklearn*RegressorChain"] = [](Build& b, NodeId id) { return make_chain(b, id, false); };
}

}  // namespace mr::serving
