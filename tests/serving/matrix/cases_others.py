"""Estimators beside the great families: other clusters and mixtures, outliers, Gaussian processes, further maps."""

from declare import Case, new

SHARES = ("predict", "predict_proba")
SCORES = ("predict", "decision_function")
MAP = ("transform",)
KERNELS = "sklearn.gaussian_process.kernels."


def of(path, **parameters):
    return lambda: new(path, **parameters)


def seeded(path, **parameters):
    return of(path, random_state=3, **parameters)


def kernel(name, **parameters):
    return new(KERNELS + name, **parameters)


def process(kind, make_kernel, **parameters):
    """Without a search for the kernel's parameters, which takes long."""
    path = f"sklearn.gaussian_process.GaussianProcess{kind}"
    return lambda: new(path, kernel=make_kernel(), optimizer=None, **parameters)


def bayesian(covariance, prior="dirichlet_process", **parameters):
    return seeded(
        "sklearn.mixture.BayesianGaussianMixture",
        n_components=3,
        covariance_type=covariance,
        weight_concentration_prior_type=prior,
        **parameters,
    )


def sum_of_kernels():
    smooth = kernel("ConstantKernel", constant_value=2.0) * kernel("RBF", length_scale=[1.0, 2.0, 0.5, 1.0, 3.0, 1.5])
    return smooth + kernel("WhiteKernel", noise_level=0.1)


def product_of_kernels():
    waves = kernel("ExpSineSquared", length_scale=2.0, periodicity=5.0)
    return waves * kernel("RationalQuadratic", alpha=0.7) + kernel("DotProduct", sigma_0=0.5) ** 2


def words_to_topics():
    topics = new("sklearn.decomposition.LatentDirichletAllocation", n_components=4, max_iter=3, random_state=3)
    return new("sklearn.pipeline.make_pipeline", new("sklearn.feature_extraction.text.CountVectorizer"), topics)


CASES = [
    # ---- maps ----
    Case("map_sparse_random", seeded("sklearn.random_projection.SparseRandomProjection", n_components=4),
         "small_three", MAP),
    Case("map_factors", seeded("sklearn.decomposition.FactorAnalysis", n_components=3), "small_numbers", MAP),
    Case("map_neighbourhood", seeded("sklearn.neighbors.NeighborhoodComponentsAnalysis", n_components=2, max_iter=5),
         "small_numbers", MAP),
    Case("map_pls_svd", of("sklearn.cross_decomposition.PLSSVD", n_components=2), "two_targets", MAP),
    Case("map_boltzmann", seeded("sklearn.neural_network.BernoulliRBM", n_components=5, n_iter=3), "small_numbers",
         MAP),
    Case("map_skewed", seeded("sklearn.kernel_approximation.SkewedChi2Sampler", n_components=20), "not_negative", MAP),
    Case("map_joined", of("sklearn.cluster.FeatureAgglomeration", n_clusters=3), "small_three", MAP),
    # ---- clusters ----
    Case("cluster_shift", of("sklearn.cluster.MeanShift", bandwidth=4.0, max_iter=30), "small_numbers"),
    Case("cluster_affinity", seeded("sklearn.cluster.AffinityPropagation", damping=0.8, max_iter=50),
         "small_numbers"),
    Case("cluster_birch", of("sklearn.cluster.Birch", n_clusters=3, threshold=2.0), "small_numbers",
         ("predict", "transform")),
    *(Case(f"mixture_bayesian_{form}", bayesian(form), "small_three", SHARES)
      for form in ("full", "tied", "diag", "spherical")),
    Case("mixture_bayesian_weights", bayesian("full", "dirichlet_distribution"), "small_three", SHARES),
    # ---- outliers ----
    Case("outlier_ellipse", seeded("sklearn.covariance.EllipticEnvelope"), "small_numbers", SCORES),
    Case("outlier_density", of("sklearn.neighbors.LocalOutlierFactor", novelty=True), "small_numbers", SCORES,
         rows=300),
    # ---- topics, and labels that spread ----
    Case("topics", words_to_topics, "texts", MAP),
    Case("topics_of_numbers", seeded("sklearn.decomposition.LatentDirichletAllocation", n_components=3, max_iter=3),
         "not_negative", MAP),
    Case("labels_spread", of("sklearn.semi_supervised.LabelSpreading", gamma=0.5), "small_three", SHARES, rows=300),
    Case("labels_propagate", of("sklearn.semi_supervised.LabelPropagation", kernel="knn", n_neighbors=9), "small_three",
         SHARES, rows=300),
    # ---- Gaussian processes ----
    Case("process_sum", process("Regressor", sum_of_kernels, normalize_y=True), "small_regression", rows=300),
    Case("process_product", process("Regressor", product_of_kernels, alpha=0.1), "small_regression", rows=300,
         tolerance=1e-9),
    Case("process_targets", process("Regressor", lambda: kernel("RBF", length_scale=2.0), alpha=0.1), "two_targets",
         rows=300),
    *(Case(f"process_matern_{name}", process("Regressor", lambda nu=nu: kernel("Matern", length_scale=2.0, nu=nu)),
           "small_regression", rows=300, tolerance=1e-10)
      for name, nu in (("half", 0.5), ("three", 1.5), ("five", 2.5), ("smooth", float("inf")))),
    Case("process_two", process("Classifier", lambda: kernel("RBF", length_scale=2.0)), "small_numbers", SHARES,
         rows=300, tolerance=1e-9),
    Case("process_three", process("Classifier", lambda: kernel("RBF", length_scale=2.0)), "small_three", SHARES,
         rows=300, tolerance=1e-9),
]  # fmt: skip
