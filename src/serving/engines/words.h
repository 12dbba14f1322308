// How a text becomes the terms that a vectoriser counts: lower-casing, accents, tokens or characters, n-grams, stop
// words; as scikit-learn's analyzers do it. Built once; thread safe then.
#pragma once
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "serving/engines/estimator.h"

namespace re2 {
class RE2;
}

namespace mr::serving {

struct TransparentHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

class Analyzer {
 public:
  // From the parameters of a vectoriser. Errors name what is not read natively.
  static Result<Analyzer> read(const Build& b, NodeId id);
  Analyzer(Analyzer&&) noexcept;
  Analyzer& operator=(Analyzer&&) noexcept;
  ~Analyzer();

  // Buffers that one thread uses again for each text.
  struct Scratch {
    std::string lowered, folded, joined;
    std::vector<std::pair<std::size_t, std::size_t>> pieces;
  };
  // Calls `term(string_view)` for each term of a text, as often as it occurs.
  template <class Term>
  void each_term(std::string_view text, Scratch& s, Term term) const {
    prepare(text, s);
    const auto n = s.pieces.size();
    if (kind_ == Kind::word && high_ == 1) {
      for (const auto& [from, to] : s.pieces) term(std::string_view(s.joined).substr(from, to - from));
    } else if (kind_ != Kind::char_wb) {
      for (auto size = low_; size <= high_ && size <= n; ++size)
        for (std::size_t i = 0; i + size <= n; ++i)
          term(std::string_view(s.joined).substr(s.pieces[i].first, s.pieces[i + size - 1].second - s.pieces[i].first));
    } else {
      // Pieces are characters; each word, with a blank on either side, ends with an empty piece.
      for (std::size_t from = 0; from < n;) {
        auto end = from;
        while (s.pieces[end].first != s.pieces[end].second) ++end;
        const auto length = end - from;
        for (auto size = low_; size <= high_; ++size) {
          const auto take = std::min(size, length);
          for (std::size_t i = from; i + take <= end; ++i)
            term(std::string_view(s.joined).substr(s.pieces[i].first,
                                                   s.pieces[i + take - 1].second - s.pieces[i].first));
          if (size >= length) break;  // a short word counts once
        }
        from = end + 1;
      }
    }
  }

 private:
  enum class Kind : std::uint8_t { word, character, char_wb };
  enum class Accents : std::uint8_t { keep, ascii, unicode };
  Analyzer();
  void prepare(std::string_view text, Scratch& s) const;
  void words(std::string_view text, Scratch& s) const;
  void pattern_words(std::string_view text, Scratch& s) const;
  void characters(std::string_view text, Scratch& s) const;
  void add_word(std::string_view word, Scratch& s) const;
  Result<> read_pattern(const std::string& pattern);

  Kind kind_ = Kind::word;
  Accents accents_ = Accents::keep;
  bool lowercase_ = true;
  std::size_t low_ = 1, high_ = 1;
  std::size_t shortest_ = 2;           // of a run of word characters
  std::unique_ptr<re2::RE2> pattern_;  // instead of runs
  bool whole_runs_ = false;            // the pattern is for whole runs of word characters
  std::unordered_set<std::string, TransparentHash, std::equal_to<>> stop_words_;
};

}  // namespace mr::serving
