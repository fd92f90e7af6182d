"""The literature that a methods text of a study may cite, and the way it is cited."""

from unicodedata import normalize

REFERENCES: dict[str, tuple[str, str]] = {
    "bengio": (
        "Bengio & Grandvalet 2004",
        "Bengio Y, Grandvalet Y. No unbiased estimator of the variance of K-fold cross-validation. J Mach Learn Res "
        "2004;5:1089–1105.",
    ),
    "bland": (
        "Bland & Altman 1986",
        "Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of clinical measurement. "
        "Lancet 1986;327:307–310.",
    ),
    "cicek": (
        "Çiçek et al. 2016",
        "Çiçek Ö, Abdulkadir A, Lienkamp SS, Brox T, Ronneberger O. 3D U-Net: learning dense volumetric segmentation "
        "from sparse annotation. MICCAI 2016, LNCS 9901:424–432.",
    ),
    "dice_loss": (
        "Milletari et al. 2016",
        "Milletari F, Navab N, Ahmadi SA. V-Net: fully convolutional neural networks for volumetric medical image "
        "segmentation. 3DV 2016:565–571.",
    ),
    "efron": (
        "Efron 1979",
        "Efron B. Bootstrap methods: another look at the jackknife. Ann Stat 1979;7:1–26.",
    ),
    "focal": (
        "Lin et al. 2017",
        "Lin TY, Goyal P, Girshick R, He K, Dollár P. Focal loss for dense object detection. ICCV 2017:2980–2988.",
    ),
    "random_search": (
        "Bergstra & Bengio 2012",
        "Bergstra J, Bengio Y. Random search for hyper-parameter optimization. J Mach Learn Res 2012;13:281–305.",
    ),
    "tpe": (
        "Bergstra et al. 2011",
        "Bergstra J, Bardenet R, Bengio Y, Kégl B. Algorithms for hyper-parameter optimization. NIPS 2011:2546–2554.",
    ),
    "optuna": (
        "Akiba et al. 2019",
        "Akiba T, Sano S, Yanase T, Ohta T, Koyama M. Optuna: a next-generation hyperparameter optimization framework. "
        "KDD 2019:2623–2631.",
    ),
    "varma": (
        "Varma & Simon 2006",
        "Varma S, Simon R. Bias in error estimation when using cross-validation for model selection. BMC "
        "Bioinformatics 2006;7:91.",
    ),
    "highdicom": (
        "Bridge et al. 2022",
        "Bridge CP, Gorman C, Pieper S, et al. Highdicom: a Python library for standardized encoding of image "
        "annotations and machine learning model outputs in pathology and radiology. J Digit Imaging "
        "2022;35:1719–1737.",
    ),
    "holm": (
        "Holm 1979",
        "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65–70.",
    ),
    "isensee": (
        "Isensee et al. 2021",
        "Isensee F, Jaeger PF, Kohl SAA, Petersen J, Maier-Hein KH. nnU-Net: a self-configuring method for deep "
        "learning-based biomedical image segmentation. Nat Methods 2021;18:203–211.",
    ),
    "kerby": (
        "Kerby 2014",
        "Kerby DS. The simple difference formula: an approach to teaching nonparametric correlation. Compr Psychol "
        "2014;3:11.IT.3.1.",
    ),
    "li": (
        "Li & Tam 1998",
        "Li CH, Tam PKS. An iterative algorithm for minimum cross entropy thresholding. Pattern Recognit Lett "
        "1998;19:771–776.",
    ),
    "liao": (
        "Liao et al. 2001",
        "Liao PS, Chen TS, Chung PC. A fast algorithm for multilevel thresholding. J Inf Sci Eng 2001;17:713–727.",
    ),
    "adamw": (
        "Loshchilov & Hutter 2019",
        "Loshchilov I, Hutter F. Decoupled weight decay regularization. ICLR 2019.",
    ),
    "cosine": (
        "Loshchilov & Hutter 2017",
        "Loshchilov I, Hutter F. SGDR: stochastic gradient descent with warm restarts. ICLR 2017.",
    ),
    "simpleitk": (
        "Lowekamp et al. 2013",
        "Lowekamp BC, Chen DT, Ibáñez L, Blezek D. The design of SimpleITK. Front Neuroinform 2013;7:45.",
    ),
    "reloaded": (
        "Maier-Hein et al. 2024",
        "Maier-Hein L, Reinke A, Godau P, et al. Metrics reloaded: recommendations for image analysis validation. "
        "Nat Methods 2024;21:195–212.",
    ),
    "snakemake": (
        "Mölder et al. 2021",
        "Mölder F, Jablonski KP, Letcher B, et al. Sustainable data analysis with Snakemake. F1000Research 2021;10:33.",
    ),
    "omezarr": (
        "Moore et al. 2023",
        "Moore J, Basurto-Lozada D, Besson S, et al. OME-Zarr: a cloud-optimized bioimaging file format with "
        "international community support. Histochem Cell Biol 2023;160:223–251.",
    ),
    "nikolov": (
        "Nikolov et al. 2021",
        "Nikolov S, Blackwell S, Zverovitch A, et al. Clinically applicable segmentation of head and neck anatomy for "
        "radiotherapy: deep learning algorithm development and validation study. J Med Internet Res 2021;23:e26151.",
    ),
    "otsu": (
        "Otsu 1979",
        "Otsu N. A threshold selection method from gray-level histograms. IEEE Trans Syst Man Cybern 1979;9:62–66.",
    ),
    "pytorch": (
        "Paszke et al. 2019",
        "Paszke A, Gross S, Massa F, et al. PyTorch: an imperative style, high-performance deep learning library. "
        "NeurIPS 2019;32:8024–8035.",
    ),
    "ronneberger": (
        "Ronneberger et al. 2015",
        "Ronneberger O, Fischer P, Brox T. U-Net: convolutional networks for biomedical image segmentation. MICCAI "
        "2015, LNCS 9351:234–241.",
    ),
    "taha": (
        "Taha & Hanbury 2015",
        "Taha AA, Hanbury A. Metrics for evaluating 3D medical image segmentation: analysis, selection, and tool. BMC "
        "Med Imaging 2015;15:29.",
    ),
    "triangle": (
        "Zack et al. 1977",
        "Zack GW, Rogers WE, Latt SA. Automatic measurement of sister chromatid exchange frequency. J Histochem "
        "Cytochem 1977;25:741–753.",
    ),
    "wang": (
        "Wang et al. 2004",
        "Wang Z, Bovik AC, Sheikh HR, Simoncelli EP. Image quality assessment: from error visibility to structural "
        "similarity. IEEE Trans Image Process 2004;13:600–612.",
    ),
    "wilcoxon": (
        "Wilcoxon 1945",
        "Wilcoxon F. Individual comparisons by ranking methods. Biometrics Bull 1945;1:80–83.",
    ),
    "yen": (
        "Yen et al. 1995",
        "Yen JC, Chang FJ, Chang S. A new criterion for automatic multilevel thresholding. IEEE Trans Image Process "
        "1995;4:370–378.",
    ),
}
"""Key: how the text names it, and the line of the list of references."""


class Bibliography:
    """What a text has cited so far."""

    def __init__(self) -> None:
        self._keys: set[str] = set()

    def cite(self, *keys: str) -> str:
        """`(Otsu 1979; Holm 1979)`, and note them down."""
        self._keys |= set(keys)
        return f"({'; '.join(REFERENCES[key][0] for key in keys)})"

    @property
    def lines(self) -> list[str]:
        """The references that were cited, in alphabetical order; an accent does not count."""
        return sorted((REFERENCES[key][1] for key in self._keys), key=_without_accents)


def _without_accents(text: str) -> str:
    return normalize("NFKD", text).encode("ascii", "ignore").decode().casefold()
